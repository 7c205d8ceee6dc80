"""Users and seeds as two sources of chance: how much wider than over users alone an interval must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def widening(runs: Sequence[np.ndarray], level: float) -> np.ndarray:
    """How many times wider an interval over users and seeds is than one over users alone, (columns,).

    runs: (users, seeds, columns) of one run, or of two whose means are compared; all users are the same, seeds are each
    run's own and several. What a seed gives a user is taken as user + seed + rest (a two-way analysis of variance with
    random effects; Searle, Casella and McCulloch 1992). The variance between the seeds' means holds the seeds and their
    share of the rest; that between the users' means holds the users and all of the rest, which is taken out there so
    that it counts once. Few seeds tell their variance badly: the quantile is Student's, with the degrees of freedom of
    Satterthwaite (1946). 1 where users do not differ. Of two equal models a 95% interval excludes zero in 3 to 5 of 100
    simulations (tests/analysis/test_variance.py).
    """
    from scipy.stats import norm, t

    number = len(runs[0])
    between_users = _contrast([run.mean(axis=1) for run in runs]).var(axis=0, ddof=1) / number
    of_users = np.maximum(between_users - sum(map(_rest, runs)), 0)
    of_seeds = [run.mean(axis=0).var(axis=0, ddof=1) / run.shape[1] for run in runs]
    total = of_users + sum(of_seeds)
    uncertain = of_users**2 / (number - 1)
    uncertain += sum(part**2 / (run.shape[1] - 1) for part, run in zip(of_seeds, runs, strict=True))
    differ = (between_users > 0) & (total > 0)
    freedom = np.divide(total**2, uncertain, out=np.ones_like(total), where=differ)
    ratio = np.sqrt(np.divide(total, between_users, out=np.ones_like(total), where=differ))
    quantile = (1 + level) / 2
    return np.where(differ, ratio * t.ppf(quantile, freedom) / norm.ppf(quantile), 1.0)


def _contrast(means: Sequence[np.ndarray]) -> np.ndarray:
    return means[0] - means[1] if len(means) == 2 else means[0]


def _rest(run: np.ndarray) -> np.ndarray:
    """Variance that the mean of a run, (users, seeds, columns), has from what is neither a user's nor a seed's."""
    users, seeds = run.shape[:2]
    rest = run - run.mean(axis=1, keepdims=True) - run.mean(axis=0, keepdims=True) + run.mean(axis=(0, 1))
    return (rest**2).sum(axis=(0, 1)) / ((users - 1) * (seeds - 1)) / (users * seeds)
