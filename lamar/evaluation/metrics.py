"""From ranks to metrics: one value per user, the mean taken last (paper, section 5; recformer-notes 4.18-20).

A target that ties with `equal` others takes each of the ranks greater..greater+equal with the same probability. A
metric that pays gain(rank) is then the mean of the gain over these ranks: a difference of prefix sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

DIGITS = 6  # the seventh digit of a float32 model is rounding


def ndcg(greater: np.ndarray, equal: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """Expected 1 / log2(rank + 2) if rank < k (one relevant item, so the ideal is 1). All (users,)."""
    return _expected_gain(1 / np.log2(np.arange(k) + 2), greater, equal)


def recall(greater: np.ndarray, equal: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """Probability that rank < k. All (users,)."""
    return _expected_gain(np.ones(k), greater, equal)


def mrr(greater: np.ndarray, equal: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Expected 1 / (rank + 1), over the whole list of candidates. All (users,)."""
    return _expected_gain(1 / np.arange(1, candidates.max() + 1), greater, equal)


def auc(greater: np.ndarray, equal: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Probability that the target is placed above a random other candidate. All (users,)."""
    return 1 - (greater + equal / 2) / (candidates - 1)


METRICS: dict[str, Metric] = {
    "ndcg@10": partial(ndcg, k=10),
    "recall@10": partial(recall, k=10),
    "ndcg@50": partial(ndcg, k=50),
    "recall@50": partial(recall, k=50),
    "mrr": mrr,
    "auc": auc,
}


def _expected_gain(gains: np.ndarray, greater: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """Mean gain over the ranks greater..greater+equal. gains: (k,), 0 from rank k on; the rest (users,)."""
    paid = np.concatenate(([0.0], np.cumsum(gains)))  # paid[r]: the gains of ranks 0..r-1 together
    last = len(gains)
    first, after = np.minimum(greater, last), np.minimum(greater + equal + 1, last)
    return (paid[after] - paid[first]) / (equal + 1)


def per_user(ranks: pl.DataFrame, ties: str) -> dict[str, np.ndarray]:
    """Every metric of METRICS for every row of a ranks table: name -> (rows,) float64.

    ties: `expected`, or `published` as the reference code has it: the target wins every tie, and AUC divides by
    all candidates, the target among them (recformer-notes 4.19).
    """
    greater, equal, candidates = (ranks[name].to_numpy() for name in ("greater", "equal", "candidates"))
    if ties == "published":
        equal, candidates = np.zeros_like(equal), candidates + 1
    return {name: metric(greater, equal, candidates) for name, metric in METRICS.items()}


def summarise(ranks: pl.DataFrame, ties: str) -> dict[str, float]:
    """Mean over seeds of each seed's mean over users, then `<metric>_std`: the sample standard deviation (divisor
    seeds - 1) between the seeds' means, 0.0 when there is one seed. Rounded to 6 decimals.
    """
    seeds = ranks["seed"].to_numpy()
    values = per_user(ranks, ties)
    by_seed = {
        name: np.array([value[seeds == seed].mean() for seed in np.unique(seeds)]) for name, value in values.items()
    }
    means = {name: round(float(seed_means.mean()), DIGITS) for name, seed_means in by_seed.items()}
    return means | {f"{name}_std": round(_spread(seed_means), DIGITS) for name, seed_means in by_seed.items()}


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
