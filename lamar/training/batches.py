"""Batches of rows of similar length, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

POOL = 16  # batches sorted together: enough to lose almost all padding while batches stay random


def by_length(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield all row numbers, `size` at a time, longest first: memory is highest at once, not late."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def shuffled_by_length(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All row numbers in batches of `size` rows of similar length, rows and batches in random order."""
    order = rng.permutation(len(lengths))
    pools = [order[start : start + size * POOL] for start in range(0, len(order), size * POOL)]
    alike = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = [pool[start : start + size] for pool in alike for start in range(0, len(pool), size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def by_tokens(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield all row numbers, longest first, in batches that hold about `tokens` tokens, `lengths` being the rows'."""
    order = np.argsort(-lengths, kind="stable")
    ends = lengths[order].cumsum()
    bounds = np.searchsorted(ends, np.arange(tokens, ends[-1], tokens), side="right")
    yield from (part for part in np.split(order, np.unique(bounds)) if len(part))


def shuffled(rows: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All row numbers in random order, in batches of `size`."""
    order = rng.permutation(rows)
    return [order[start : start + size] for start in range(0, rows, size)]
