"""Start a Recformer from the weights of a text encoder, of a published Recformer, or of one of ours.

A text encoder has no item positions and but one token type: they start as zeros and as copies, so that the first
forward pass reads text as the encoder does. Only a Longformer has global projections; a BERT's or RoBERTa's start as
copies of the local ones (as Longformer's did).
"""

from __future__ import annotations

import pickle
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from lamar.console import say
from lamar.errors import LamarError
from lamar.files import read_json
from lamar.recformer.config import Shape
from lamar.recformer.model import Embeddings, Recformer
from lamar.text.tokens import PAD

PARTS = {  # ours -> BERT's, of one layer
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.query_global": "attention.self.query_global",
    "attention.key_global": "attention.self.key_global",
    "attention.value_global": "attention.self.value_global",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
OURS = {  # our tables -> BERT's
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.item_position": "embeddings.item_position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
}
FILES = ("model.safetensors", "recformer_seqrec_ckpt.bin", "recformer_ckpt.bin", "pytorch_model.bin")
ITEM_POSITIONS = "embeddings.item_position_embeddings.weight"
SHOWN = 5  # weights that are named when they are not used
FIRST_POSITION = {"bert": 0, "roberta": 2, "xlm-roberta": 2, "longformer": 2}


def shape_of(backbone: Path, layers: int, max_items: int, window: int, dropout: float, pooling: str) -> Shape:
    """The shape of a Recformer with the first `layers` layers of the encoder in the folder `backbone`.

    Raises LamarError when the encoder is of another kind than those of FIRST_POSITION, computes something
    else than GELU, or has fewer layers.
    """
    config = read_json(backbone / "config.json")
    kind = config["model_type"]
    if kind not in FIRST_POSITION:
        raise LamarError(f"{backbone}/config.json: model_type {kind}: use one of {', '.join(FIRST_POSITION)}")
    if config["hidden_act"] != "gelu":
        raise LamarError(f"{backbone}/config.json: hidden_act {config['hidden_act']}: use an encoder with gelu")
    if layers > config["num_hidden_layers"]:
        raise LamarError(f"params.yaml: layers: {layers}, but {backbone} has {config['num_hidden_layers']}")
    return Shape(
        vocabulary=config["vocab_size"],
        hidden=config["hidden_size"],
        layers=layers,
        heads=config["num_attention_heads"],
        intermediate=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        first_position=FIRST_POSITION[kind],
        layer_norm_eps=config["layer_norm_eps"],
        max_items=max_items,
        window=window,
        dropout=dropout,
        pooling=pooling,
    )


def from_encoder(backbone: Path, shape: Shape) -> Recformer:
    """A Recformer that starts from the weights in the folder `backbone`, and says which of them it did not use.

    A Recformer's, published or ours, brings its token types and item positions, too. Raises LamarError when the file or
    a weight is missing, or weights are of another size than config.json says.
    """
    model = Recformer(shape)
    nn.init.zeros_(model.embeddings.item_position.weight)
    path = _file(backbone)
    weights = _Used(_plain_names(READERS[path.suffix](path)))
    try:
        model.embeddings.load_state_dict(_embeddings(weights, model.embeddings), strict=False)
        for number, layer in enumerate(model.layers):
            layer.load_state_dict(_layer(weights, f"encoder.layer.{number}."))
    except KeyError as error:
        raise LamarError(f"{path}: no weight {error}; use a plain text encoder") from None
    except RuntimeError as error:  # torch lists every weight that does not fit
        raise LamarError(
            f"{path}: does not fit {backbone}/config.json ({str(error).splitlines()[1].strip()})"
        ) from None
    say(f"{path}: {weights.summary()}")
    return model


class _Used(dict[str, Tensor]):
    """Weights by name, and which of them were asked for."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__(weights)
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self._asked.add(name)
        return super().__getitem__(name)

    def summary(self) -> str:
        """How many weights were taken, and the parts of the others."""
        left = sorted({name.removesuffix(".weight").removesuffix(".bias") for name in self.keys() - self._asked})
        shown = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")
        return f"{len(self._asked)} weights loaded; not used: {shown or 'none'}"


def _embeddings(weights: dict[str, Tensor], ours: Embeddings) -> dict[str, Tensor]:
    """The tables by our names. A text encoder reads everything as its first type and knows no item positions."""
    types = weights["embeddings.token_type_embeddings.weight"]
    loaded = {
        "word.weight": weights["embeddings.word_embeddings.weight"],
        "position.weight": weights["embeddings.position_embeddings.weight"],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
        "token_type.weight": types if len(types) == PAD + 1 else types[:1].expand(PAD + 1, -1),
    }
    if ITEM_POSITIONS in weights:
        known = weights[ITEM_POSITIONS][: len(ours.item_position.weight)]
        table = ours.item_position.weight.detach().clone()
        table[: len(known)] = known
        loaded["item_position.weight"] = table
    return loaded


def _layer(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """One layer's weights by our names."""
    layer = {}
    for ours, theirs in PARTS.items():
        if f"{prefix}{theirs}.weight" not in weights:
            theirs = theirs.removesuffix("_global")
        for kind in ("weight", "bias"):
            layer[f"{ours}.{kind}"] = weights[f"{prefix}{theirs}.{kind}"]
    return layer


def _file(backbone: Path) -> Path:
    """The folder's weights, safetensors first."""
    for name in FILES:
        if (backbone / name).exists():
            return backbone / name
    raise LamarError(f"{backbone}/{FILES[0]}: no such file; run dvc repro backbone")


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that torch wrote; nothing else in it is ever executed (weights_only)."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise LamarError(f"{path}: holds more than weights, which is not opened; save its state dict alone") from None


READERS = {".safetensors": load_file, ".bin": _read_pickled}


def _plain_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All weights by BERT's names, without the name of the encoder that a model with a head puts first."""
    prefixes = ("bert.", "roberta.", "longformer.", "model.")
    plain = {name.split(".", 1)[1] if name.startswith(prefixes) else name: tensor for name, tensor in weights.items()}
    return {_their_name(name): tensor for name, tensor in plain.items()}


def _their_name(name: str) -> str:
    """BERT's name of a weight that has ours; any other stays."""
    part, _, kind = name.rpartition(".")
    if part in OURS:
        return f"{OURS[part]}.{kind}"
    first, _, inner = part.partition(".")
    number, _, inner = inner.partition(".")
    return f"encoder.layer.{number}.{PARTS[inner]}.{kind}" if first == "layers" and inner in PARTS else name
