"""Is a difference more than chance? Intervals of every run and every pair, and p-values corrected for their number.

Two kinds of chance: other users could have been in the data, and other seeds could have trained the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from lamar.analysis.pairs import distinct, pairs
from lamar.analysis.resampling import bootstrap_means, holm, interval, randomisation
from lamar.analysis.runs import COMPARED, RunValues
from lamar.analysis.variance import widening
from lamar.params import Significance

DIGITS = 6
PAIR_SCHEMA = {
    **dict.fromkeys(("run", "against", "metric"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    "significant": pl.Boolean,
}

Pair = tuple[RunValues, RunValues]  # a run, and what it is compared with
Means = dict[str, np.ndarray]  # run -> (resamples, metrics of COMPARED)


def significance(runs: Sequence[RunValues], chosen: Significance) -> dict[str, Any]:
    """Interval of every run, and for every pair (see `pairs`) intervals, p-values and verdict of every metric.

    The p-values are of users alone: they take the models as they were trained. Holm's correction is over all metrics
    of all pairs. A difference is significant when its corrected p-value is below 1 - level and its interval, which
    knows of seeds where there are several, excludes zero. `repeats`: see there.
    """
    means = resampled_means(runs, chosen)
    compared = compared_runs(runs)
    tests = _tests(compared, chosen)
    return {
        "users": len(runs[0].users),
        "resamples": chosen.resamples,
        "level": chosen.level,
        "repeats": repeats(runs),
        "runs": {run.run: run_intervals(run, means, chosen) for run in runs},
        "pairs": [
            _pair(pair, pair_intervals(pair, means, chosen), tests[place], chosen)
            for place, pair in enumerate(compared)
        ],
    }


def repeats(runs: Sequence[RunValues]) -> dict[str, str]:
    """Run -> the first run whose values for every user are the same: other settings that changed nothing."""
    found = {}
    for place, run in enumerate(runs):
        same = (first.run for first in runs[:place] if np.array_equal(first.values, run.values))
        if (first := next(same, None)) is not None:
            found[run.run] = first
    return found


def compared_runs(runs: Sequence[RunValues]) -> list[Pair]:
    """The pairs worth comparing (see `pairs`), but for those that would be the same comparison twice."""
    by_run = {run.run: run for run in runs}
    compared = distinct(pairs({run.run: run.signature for run in runs}), repeats(runs))
    return [(by_run[new], by_run[base]) for new, base in compared]


def resampled_means(runs: Sequence[RunValues], chosen: Significance) -> Means:
    """Means over resampled users; the same users for all runs, so that differences are paired by user."""
    values = np.concatenate([run.values.mean(axis=1) for run in runs], axis=1)
    resampled = bootstrap_means(values, chosen.resamples, chosen.seed)
    return {run.run: part for run, part in zip(runs, np.split(resampled, len(runs), axis=1), strict=True)}


def run_intervals(run: RunValues, means: Means, chosen: Significance) -> dict[str, dict[str, float]]:
    """Value, low and high of every metric of a run, over users and, where there are several, seeds; from 0 to 1."""
    (drawn,) = drawn_means([run], means, chosen)
    drawn = np.clip(drawn, 0, 1)  # where a group is small, what seeds add can reach beyond
    observed = run.values.mean(axis=(0, 1))
    return {name: _ends(observed[place], drawn[:, place], chosen) for place, name in enumerate(COMPARED)}


def chance(pair: Pair) -> str:
    """What the intervals of a pair know of: `users x seeds`, or `users` when one of the two has a single seed."""
    return "users x seeds" if min(run.seeds for run in pair) > 1 else "users"


def pair_intervals(pair: Pair, means: Means, chosen: Significance) -> dict[str, dict[str, Any]]:
    """Of every metric: difference and relative improvement (each value, low, high), over the pair's `chance`.

    Where both runs have several seeds the bootstrap over users is widened by what the seeds add (see `widening`); seeds
    are each run's own, because a seed gives two models with different features nothing in common but a random state.
    `relative_users` is the interval over users alone. Ratios are None where the base is 0 in some resample.
    """
    by_users, drawn = [means[run.run] for run in pair], drawn_means(pair, means, chosen)
    found = {}
    for place, name in enumerate(COMPARED):
        here, there = (run.values[..., place].mean() for run in pair)
        new, base = (means_[:, place] for means_ in drawn)
        new_users, base_users = (means_[:, place] for means_ in by_users)
        possible = min(base.min(), base_users.min()) > 0
        found[name] = {
            "difference": _ends(here - there, new - base, chosen),
            "relative": _ends(here / there - 1, new / base - 1, chosen) if possible else None,
            "relative_users": _ends(here / there - 1, new_users / base_users - 1, chosen) if possible else None,
        }
    return found


def drawn_means(runs: Sequence[RunValues], means: Means, chosen: Significance) -> list[np.ndarray]:
    """Resampled means of one run or a pair, (resamples, metrics) each, as far from the observed ones as seeds ask for.

    All runs are widened by one factor: so the interval of a ratio excludes zero where that of the difference does.
    """
    resampled = [means[run.run] for run in runs]
    if min(run.seeds for run in runs) == 1:
        return resampled
    factor = widening([run.values for run in runs], chosen.level)
    observed = [run.values.mean(axis=(0, 1)) for run in runs]
    return [centre + factor * (drawn - centre) for centre, drawn in zip(observed, resampled, strict=True)]


def run_table(found: dict[str, Any]) -> pl.DataFrame:
    """What `significance` found of every run but the repeated ones: run, metric, value, low, high."""
    rows = [
        (run, metric, *ends.values())
        for run, metrics in found["runs"].items()
        if run not in found["repeats"]
        for metric, ends in metrics.items()
    ]
    return pl.DataFrame(rows, schema=["run", "metric", "value", "low", "high"], orient="row")


def pair_table(found: dict[str, Any]) -> pl.DataFrame:
    """What it found of every pair that has a ratio: run, against, metric, value, low, high (relative), significant."""
    rows = [
        (pair["run"], pair["against"], metric, *pair[metric]["relative"].values(), pair[metric]["significant"])
        for pair in found["pairs"]
        for metric in COMPARED
        if pair[metric]["relative"]
    ]
    return pl.DataFrame(rows, schema=PAIR_SCHEMA, orient="row")


def _tests(compared: Sequence[Pair], chosen: Significance) -> list[dict[str, dict[str, float]]]:
    """p and p_holm of every metric of every pair."""
    if not compared:
        return []
    differences = [new.values.mean(axis=1) - base.values.mean(axis=1) for new, base in compared]
    p_values = randomisation(np.concatenate(differences, axis=1), chosen.resamples, chosen.seed)
    tables = [table.reshape(len(compared), len(COMPARED)) for table in (p_values, holm(p_values))]
    return [
        {name: {"p": _round(p), "p_holm": _round(adjusted)} for name, p, adjusted in zip(COMPARED, *rows, strict=True)}
        for rows in zip(*tables, strict=True)
    ]


def _pair(
    pair: Pair, intervals: dict[str, dict[str, Any]], tests: dict[str, dict[str, float]], chosen: Significance
) -> dict[str, Any]:
    new, base = pair
    metrics = {name: intervals[name] | tests[name] for name in COMPARED}
    for found in metrics.values():
        found["significant"] = found["p_holm"] < 1 - chosen.level and _excludes_zero(found["difference"])
    heading = {"run": new.run, "against": base.run, "seeds": [new.seeds, base.seeds], "chance": chance(pair)}
    return heading | metrics


def _excludes_zero(ends: dict[str, float]) -> bool:
    return ends["low"] > 0 or ends["high"] < 0


def _ends(value: float, resampled: np.ndarray, chosen: Significance) -> dict[str, float]:
    low, high = interval(resampled, chosen.level)
    return {"value": _round(value), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float:
    return round(float(value), DIGITS)
