"""Popularity: every user is recommended the items that occur most in the training sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


class Popularity:
    """Scores are counts, the same for everybody."""

    def __init__(self, train: Sequence[np.ndarray], items: int) -> None:
        """Count the items (0..items-1) of the training sequences."""
        self.counts = np.bincount(np.concatenate(train), minlength=items).astype(np.float32)

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield (rows, counts (rows, items)) a thousand histories at a time."""
        for rows in np.array_split(np.arange(len(histories)), max(1, len(histories) // 1000)):
            yield rows, torch.from_numpy(self.counts).expand(len(rows), -1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What is saved: counts (items,)."""
        return {"counts": torch.from_numpy(self.counts)}
