"""Start a Recformer from a text encoder's weights.

A BERT-style encoder has neither global projections nor item positions: the global projections start as copies of the
local ones (as Longformer's did), item positions and token types as zeros, so that the first forward pass reads text
as the encoder does.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from lamar.errors import LamarError
from lamar.recformer.config import Shape
from lamar.recformer.model import Recformer

PARTS = {  # ours -> BERT's, of one layer
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.query_global": "attention.self.query",
    "attention.key_global": "attention.self.key",
    "attention.value_global": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
FIRST_POSITION = {"bert": 0, "roberta": 2, "xlm-roberta": 2}


def shape_of(backbone: Path, layers: int, max_items: int, window: int, dropout: float) -> Shape:
    """The shape of a Recformer with the first `layers` layers of the encoder in the folder `backbone`.

    Raises LamarError when the encoder is of another kind than BERT or RoBERTa or has fewer layers.
    """
    config = json.loads((backbone / "config.json").read_text())
    kind = config["model_type"]
    if kind not in FIRST_POSITION:
        raise LamarError(f"{backbone}/config.json: model_type {kind}: use one of {', '.join(FIRST_POSITION)}")
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
    )


def from_encoder(backbone: Path, shape: Shape) -> Recformer:
    """A Recformer that starts from the encoder in the folder `backbone` (model.safetensors)."""
    model = Recformer(shape)
    nn.init.zeros_(model.embeddings.item_position.weight)
    weights = {name.removeprefix("bert.").removeprefix("roberta."): tensor for name, tensor in _read(backbone).items()}
    embeddings = {
        "word.weight": weights["embeddings.word_embeddings.weight"],
        "position.weight": weights["embeddings.position_embeddings.weight"],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
        # a text encoder reads everything as its first type
        "token_type.weight": weights["embeddings.token_type_embeddings.weight"][:1].expand(4, -1),
    }
    model.embeddings.load_state_dict(embeddings, strict=False)
    for number, layer in enumerate(model.layers):
        layer.load_state_dict({
            f"{ours}.{kind}": weights[f"encoder.layer.{number}.{theirs}.{kind}"]
            for ours, theirs in PARTS.items()
            for kind in ("weight", "bias")
        })  # fmt: skip
    return model


def _read(backbone: Path) -> dict[str, Tensor]:
    try:
        return load_file(backbone / "model.safetensors")
    except FileNotFoundError:
        raise LamarError(f"{backbone}/model.safetensors: no such file; run dvc repro backbone") from None
