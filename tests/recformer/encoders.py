"""Tiny text encoders with random weights, saved as the files of a backbone, and batches of random tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    LongformerConfig,
    LongformerModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from lamar.recformer.config import Shape
from lamar.recformer.model import Recformer
from lamar.recformer.padded import Padded
from lamar.recformer.reading import TextBatch

VOCABULARY = 90
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.3,  # ten times BERT's: attention far from uniform
}
KINDS = {
    "bert": (BertConfig, BertModel, {"max_position_embeddings": 300, "layer_norm_eps": 1e-12}),
    "roberta": (RobertaConfig, RobertaModel, {"max_position_embeddings": 302, "layer_norm_eps": 1e-5}),
    "longformer": (
        LongformerConfig,
        LongformerModel,
        {"max_position_embeddings": 302, "layer_norm_eps": 1e-5, "attention_window": 64},  # 32 to each side
    ),
}


def encoder(kind: str, **changes: Any) -> PreTrainedModel:
    """A random encoder in which every bias and norm has been moved off its initial value."""
    config, model, own = KINDS[kind]
    torch.manual_seed(7)
    made = model(config(**{**SIZES, **own, **changes}), add_pooling_layer=False).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 1:
                weight += 0.2 * torch.randn_like(weight)
    return made


def saved(folder: Path, kind: str, **changes: Any) -> PreTrainedModel:
    """`encoder`, its files written to `folder`."""
    made = encoder(kind, **changes)
    made.save_pretrained(folder)
    return made


def alone(batch: TextBatch, row: int) -> TextBatch:
    """One row of a padded batch without its padding."""
    length = int(batch.layout.lengths[row])
    cut = (table[row : row + 1, :length] for table in (batch.ids, batch.types, batch.items, batch.starts))
    return TextBatch(*cut, Padded(batch.layout.lengths[row : row + 1], length, batch.layout.window))


def packed(batch: TextBatch) -> TextBatch:
    """A padded batch without its padding, one user after the other."""
    from lamar.recformer.packed import Packed

    real, short = batch.layout.real, batch.layout.lengths.int()
    starts = (short.cumsum(0) - short).int()
    firsts, lasts = (ends.repeat_interleave(short) for ends in (starts, starts + short - 1))
    tables = (table[real] for table in (batch.ids, batch.types, batch.items, batch.starts))
    return TextBatch(*tables, Packed(short, starts, firsts, lasts, batch.layout.window))


def tokens(lengths: list[int], max_items: int = 9, seed: int = 0, window: int = 32) -> TextBatch:
    """Padded: random words, types and item positions; padding holds junk, which nothing may read."""
    chance = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    ids = torch.randint(5, VOCABULARY, shape, generator=chance)
    types = torch.randint(1, 3, shape, generator=chance)
    items = torch.randint(1, max_items + 1, shape, generator=chance)
    ids[:, 0], types[:, 0], items[:, 0] = 3, 0, 0
    return TextBatch(ids, types, items, ids > VOCABULARY, Padded(torch.tensor(lengths), max(lengths), window))


def shape(**changes: Any) -> Shape:
    sizes: dict[str, Any] = {
        "vocabulary": VOCABULARY,
        "hidden": 32,
        "layers": 3,
        "heads": 4,
        "intermediate": 48,
        "positions": 300,
        "first_position": 0,
        "layer_norm_eps": 1e-5,
        "max_items": 9,
        "window": 32,
        "dropout": 0.0,
        "pooling": "cls",
    }
    return Shape(**(sizes | changes))


def recformer(**changes: Any) -> Recformer:
    """A random Recformer whose attention is far from uniform."""
    torch.manual_seed(3)
    model = Recformer(shape(**changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative, in the Euclidean norm, of the row that differs most."""
    return ((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max().item()
