"""The shape of a Recformer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder; what the text encoder it starts from does not say is said by the run's preset."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    first_position: int  # of CLS: 0 in BERT, 2 in RoBERTa and Longformer (pad id + 1)
    layer_norm_eps: float
    max_items: int  # item positions besides CLS's
    window: int  # tokens to each side that a token attends to
    dropout: float
    pooling: str  # cls or mean
