"""Is a difference more than chance? Intervals of every run and every pair, and p-values corrected for their number.

Two kinds of chance: other users could have been in the data, and other seeds could have trained the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamar.analysis.pairs import pairs
from lamar.analysis.resampling import bootstrap_means, bootstrap_seeds, holm, interval, randomisation
from lamar.analysis.runs import COMPARED, RunValues
from lamar.params import Significance

DIGITS = 6


def significance(runs: Sequence[RunValues], chosen: Significance) -> dict[str, Any]:
    """Interval of every run, and for every pair (see `pairs`) interval, p-value and verdict of every metric.

    Users are resampled together for all runs, so differences are paired by user. Where both runs of a pair have
    several seeds, their seeds are drawn anew as well, of each run for itself: a seed gives two models with different
    features nothing in common but a random state. Seeds are taken as a random sample of all seeds; with so few, that
    interval is an approximation. Resampling both ways is conservative about chance that is neither the user's nor the
    seed's alone (Owen 2007). The p-values are of users alone: they take the models as they were trained.
    """
    values = np.concatenate([run.values.reshape(len(run.users), -1) for run in runs], axis=1)
    resampled = bootstrap_means(values, chosen.resamples, chosen.seed)
    ends = np.cumsum([run.seeds * len(COMPARED) for run in runs])[:-1]
    means = {
        run.run: part.reshape(chosen.resamples, run.seeds, len(COMPARED))
        for run, part in zip(runs, np.split(resampled, ends, axis=1), strict=True)
    }
    by_run = {run.run: run for run in runs}
    compared = [(by_run[new], by_run[base]) for new, base in pairs({run.run: run.signature for run in runs})]
    return {
        "users": len(runs[0].users),
        "resamples": chosen.resamples,
        "level": chosen.level,
        "runs": {run.run: _run(run, means[run.run], chosen) for run in runs},
        "pairs": _pairs(compared, means, chosen),
    }


def _run(run: RunValues, means: np.ndarray, chosen: Significance) -> dict[str, Any]:
    """Mean and interval of every metric; means: (resamples, seeds, metrics)."""
    drawn = _over_seeds(means, chosen)
    observed = run.values.mean(axis=(0, 1))
    return {
        name: {"mean": _round(observed[place])} | _interval(drawn[:, place], chosen.level)
        for place, name in enumerate(COMPARED)
    }


def _pairs(
    compared: list[tuple[RunValues, RunValues]], means: dict[str, np.ndarray], chosen: Significance
) -> list[dict[str, Any]]:
    """Every pair; Holm's correction is over all metrics of all pairs."""
    if not compared:
        return []
    differences = [new.values.mean(axis=1) - base.values.mean(axis=1) for new, base in compared]
    p_values = randomisation(np.concatenate(differences, axis=1), chosen.resamples, chosen.seed)
    adjusted = holm(p_values).reshape(len(compared), len(COMPARED))
    p_values = p_values.reshape(adjusted.shape)
    return [
        {
            "run": new.run,
            "against": base.run,
            "seeds": [new.seeds, base.seeds],
            "chance": "users x seeds" if _several_seeds(new, base) else "users",
            **_pair(new, base, means, p_values[row], adjusted[row], chosen),
        }
        for row, (new, base) in enumerate(compared)
    ]


def _pair(
    new: RunValues,
    base: RunValues,
    means: dict[str, np.ndarray],
    p_values: np.ndarray,
    adjusted: np.ndarray,
    chosen: Significance,
) -> dict[str, Any]:
    """Of every metric: relative improvement, its intervals, p-values (metrics,) and whether it is significant.

    `users` is the interval from resampled users alone, `users_seeds` from both (None with a single seed).
    """
    by_users = means[new.run].mean(axis=1), means[base.run].mean(axis=1)
    by_both = _over_seeds(means[new.run], chosen), _over_seeds(means[base.run], chosen, other=True)
    found = {}
    for place, name in enumerate(COMPARED):
        here, there = (run.values[..., place].mean() for run in (new, base))
        users = _relative(by_users[0][:, place], by_users[1][:, place], chosen.level)
        both = (
            _relative(by_both[0][:, place], by_both[1][:, place], chosen.level) if _several_seeds(new, base) else None
        )
        widest = both or users
        found[name] = {
            "difference": _round(here - there),
            "relative": _round(here / there - 1) if there else None,
            "users": users,
            "users_seeds": both,
            "p": _round(p_values[place]),
            "p_holm": _round(adjusted[place]),
            "significant": bool(
                adjusted[place] < 1 - chosen.level and widest is not None and widest["low"] * widest["high"] > 0
            ),
        }
    return found


def _several_seeds(new: RunValues, base: RunValues) -> bool:
    return min(new.seeds, base.seeds) > 1


def _over_seeds(means: np.ndarray, chosen: Significance, other: bool = False) -> np.ndarray:
    """(resamples, metrics) from (resamples, seeds, metrics): seeds drawn anew, the same for all metrics.

    `other`: the draws of the second run of a pair, which are not those of the first.
    """
    seed = (chosen.seed, 2 if other else 1)  # numpy's streams of 0 and of (0, 0) are one: users must not share it
    columns = [bootstrap_seeds(means[:, :, place], np.random.default_rng(seed)) for place in range(means.shape[2])]
    return np.stack(columns, axis=1)


def _relative(new: np.ndarray, base: np.ndarray, level: float) -> dict[str, float] | None:
    """Interval of new / base - 1; None when a base is 0, where there is no ratio."""
    return _interval(new / base - 1, level) if (base > 0).all() else None


def _interval(statistics: np.ndarray, level: float) -> dict[str, float]:
    low, high = interval(statistics, level)
    return {"low": _round(low), "high": _round(high)}


def _round(value: float) -> float:
    return round(float(value), DIGITS)
