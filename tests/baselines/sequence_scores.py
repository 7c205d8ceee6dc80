"""What tests of models of item sequences share: random histories, and the scores of all items for each."""

from __future__ import annotations

import numpy as np
import torch

from lamar.baselines.sequence import SequenceModel


def random_history(items: int, length: int, seed: int = 0) -> np.ndarray:
    """`length` of the items 0..items-1."""
    return np.random.default_rng(seed).integers(items, size=length)


@torch.no_grad()
def scored(model: SequenceModel, histories: list[np.ndarray]) -> np.ndarray:
    """float32 (histories, items); every history is scored exactly once."""
    rows, scores = (np.concatenate(parts) for parts in zip(*model.scores(histories), strict=True))
    assert sorted(rows) == list(range(len(histories)))
    return scores[np.argsort(rows)]
