"""Start a Recformer from a text encoder's weights.

A text encoder has no item positions and but one token type: they start as zeros and as copies, so that the first
forward pass reads text as the encoder does. Only a Longformer has global projections; a BERT's or RoBERTa's start as
copies of the local ones (as Longformer's did).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from lamar.errors import LamarError
from lamar.files import read_json
from lamar.recformer.config import Shape
from lamar.recformer.model import Recformer
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
    """A Recformer that starts from the encoder in the folder `backbone` (model.safetensors).

    Raises LamarError when the file or a weight is missing.
    """
    model = Recformer(shape)
    nn.init.zeros_(model.embeddings.item_position.weight)
    weights = _read(backbone)
    try:
        model.embeddings.load_state_dict(_embeddings(weights), strict=False)
        for number, layer in enumerate(model.layers):
            layer.load_state_dict(_layer(weights, f"encoder.layer.{number}."))
    except KeyError as error:
        raise LamarError(f"{backbone}/model.safetensors: no weight {error}; use a plain text encoder") from None
    return model


def _embeddings(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "word.weight": weights["embeddings.word_embeddings.weight"],
        "position.weight": weights["embeddings.position_embeddings.weight"],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
        # a text encoder reads everything as its first type
        "token_type.weight": weights["embeddings.token_type_embeddings.weight"][:1].expand(PAD + 1, -1),
    }


def _layer(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """One layer's weights by our names."""
    layer = {}
    for ours, theirs in PARTS.items():
        if f"{prefix}{theirs}.weight" not in weights:
            theirs = theirs.removesuffix("_global")
        for kind in ("weight", "bias"):
            layer[f"{ours}.{kind}"] = weights[f"{prefix}{theirs}.{kind}"]
    return layer


def _read(backbone: Path) -> dict[str, Tensor]:
    """All weights by name, without the name of the encoder that a model with a head puts first."""
    try:
        weights = load_file(backbone / "model.safetensors")
    except FileNotFoundError:
        raise LamarError(f"{backbone}/model.safetensors: no such file; run dvc repro backbone") from None
    prefixes = ("bert.", "roberta.", "longformer.")
    return {name.split(".", 1)[1] if name.startswith(prefixes) else name: tensor for name, tensor in weights.items()}
