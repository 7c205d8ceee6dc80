"""Chance, by resampling: bootstrap intervals, a randomisation test, and Holm's correction for testing often.

Every function takes all columns at once: one column is one thing that is measured on the same users (a metric of a run
and seed, or the difference of two). The columns share the resamples, so anything computed from several of them in one
row of the result is paired.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 22  # numbers held at once: 32 MB of float64, however many users and resamples there are
TIE = 1e-9  # relative; sums in another order differ by rounding, and equal statistics count as extreme


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means over users drawn with replacement (Efron 1979). values: (users, columns); returns (resamples, columns)."""
    users = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for rows in _blocks(resamples, users):
        count = rows.stop - rows.start
        drawn = rng.integers(users, size=(count, users)) + users * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * users).reshape(count, users)
        means[rows] = weights.astype(np.float64) @ values / users
    return means


def interval(statistics: np.ndarray, level: float) -> tuple[float, float]:
    """The middle `level` of the resampled statistics (resamples,): the percentile interval."""
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def randomisation(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Two-sided p-values of the paired randomisation test (Fisher 1935; Smucker, Allan and Carterette 2007).

    differences: (users, columns), one run minus the other; returns (columns,). If the runs were exchangeable, each
    user's difference could as well have the other sign. All sign flips are tried when `resamples` allow it; otherwise
    random ones, and the observed signs count as one of them, so that p is never 0.
    """
    users = len(differences)
    exact = users < 63 and 2**users <= resamples
    observed = np.abs(differences.sum(axis=0)) * (1 - TIE)
    extreme = np.zeros(differences.shape[1], dtype=np.int64)
    rng = np.random.default_rng(seed)
    total = 2**users if exact else resamples
    for rows in _blocks(total, users):
        signs = _all_signs(rows, users) if exact else _random_signs(rows.stop - rows.start, users, rng)
        extreme += (np.abs(signs @ differences) >= observed).sum(axis=0)
    return extreme / total if exact else (extreme + 1) / (total + 1)


def _all_signs(rows: slice, users: int) -> np.ndarray:
    """The sign flips number rows.start..rows.stop - 1 of the 2^users, as (rows, users) of -1 and 1."""
    flips = np.arange(rows.start, rows.stop)[:, None] >> np.arange(users) & 1
    return 1.0 - 2.0 * flips


def _random_signs(count: int, users: int, rng: np.random.Generator) -> np.ndarray:
    """(count, users) of -1 and 1."""
    width = -(-users // 8)
    bits = np.frombuffer(rng.bytes(count * width), np.uint8).reshape(count, width)
    return 1.0 - 2.0 * np.unpackbits(bits, axis=1, count=users)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values that keep the chance of any false alarm among all of them below the level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _blocks(rows: int, users: int) -> Iterator[slice]:
    """Slices of `rows` whose (rows, users) tables stay below BLOCK numbers."""
    size = max(1, BLOCK // max(users, 1))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
