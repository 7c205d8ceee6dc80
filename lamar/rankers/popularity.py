"""Popularity on pools: of the candidates, those come first that occur most in the training sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from lamar.files import written_whole
from lamar.rankers.pools import Pool

COUNTS = "counts.safetensors"


class PoolPopularity:
    """Scores are counts, the same for everybody and in every order of the candidates."""

    def __init__(self, counts: np.ndarray) -> None:
        """`counts`: of every item in the training sequences (items,)."""
        self.counts = counts

    @classmethod
    def of(cls, train: Sequence[np.ndarray], items: int) -> PoolPopularity:
        """Count the items (0..items-1) of the training sequences."""
        return cls(np.bincount(np.concatenate(train), minlength=items).astype(np.float32))

    @classmethod
    def load(cls, folder: Path) -> PoolPopularity:
        """What `save` wrote."""
        from safetensors.torch import load_file

        return cls(load_file(folder / COUNTS)["counts"].numpy())

    def scores(self, pools: Sequence[Pool]) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield (rows, counts (rows, candidates)) of all pools at once."""
        counts = np.array([self.counts[list(pool.candidates)] for pool in pools])
        yield np.arange(len(pools)), torch.from_numpy(counts)

    def written(self, pools: Sequence[Pool]) -> list[tuple[str, list[str]]]:
        """It writes nothing."""
        return []

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The counts (items,)."""
        return {"counts": torch.from_numpy(self.counts)}

    def save(self, folder: Path) -> None:
        """Write the counts to `folder`."""
        from safetensors.torch import save_file

        with written_whole(folder / COUNTS) as unfinished:
            save_file(self.state_dict(), unfinished)
