"""What the signals changed: a run with signals against the same model without them, and against the placebo."""

from __future__ import annotations

from dataclasses import dataclass

from lamar.analysis.pairs import pairs
from lamar.evaluation.metrics import METRICS
from lamar.report.results import Result


@dataclass(frozen=True)
class Change:
    """Of one metric. relative: (new - base) / base, None when base is 0. noise: too small to say anything."""

    relative: float | None
    noise: bool


@dataclass(frozen=True)
class Difference:
    """A run with signals against a base that differs in its features only; changes: metric -> Change."""

    new: Result
    base: Result
    changes: dict[str, Change]


def best(results: list[Result]) -> dict[str, float]:
    """The highest mean of each metric."""
    return {name: max(result.metrics[name] for result in results) for name in METRICS}


def differences(results: list[Result]) -> list[Difference]:
    """Every run with true signals against each of its bases, in the order of the results."""
    by_run = {result.run: result for result in results}
    compared = [(by_run[new], by_run[base]) for new, base in pairs({run: r.signature for run, r in by_run.items()})]
    return [Difference(new, base, {name: _change(new, base, name) for name in METRICS}) for new, base in compared]


def _change(new: Result, base: Result, name: str) -> Change:
    """Noise: within the larger standard deviation of the two; with one seed the deviation is unknown."""
    difference = new.metrics[name] - base.metrics[name]
    spread = max(result.metrics[f"{name}_std"] for result in (new, base))
    known = min(new.seeds, base.seeds) > 1
    relative = difference / base.metrics[name] if base.metrics[name] else None
    return Change(relative, noise=not known or abs(difference) <= spread)
