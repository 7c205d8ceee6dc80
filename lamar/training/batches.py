"""Batches of rows of similar length, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def by_length(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield all row numbers, `size` at a time, longest first (memory is highest at once, not late)."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shuffled_by_length(lengths: np.ndarray, size: int, rng: np.random.Generator, pool: int = 16) -> list[np.ndarray]:
    """All row numbers in random batches whose rows are of similar length.

    Rows are shuffled, sorted within pools of `pool` batches, and the batches are shuffled: 16 batches are enough to
    lose almost all padding while batches stay random.
    """
    order = rng.permutation(len(lengths))
    pools = [order[start : start + size * pool] for start in range(0, len(order), size * pool)]
    sorted_pools = [part[np.argsort(lengths[part], kind="stable")] for part in pools]
    batches = [part[start : start + size] for part in sorted_pools for start in range(0, len(part), size)]
    return [batches[index] for index in rng.permutation(len(batches))]
