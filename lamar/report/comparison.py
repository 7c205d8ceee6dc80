"""What the signals changed: a run with signals against the same model without them, and against the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lamar.analysis.pairs import distinct, pairs
from lamar.evaluation.metrics import METRICS
from lamar.report.results import Result


@dataclass(frozen=True)
class Difference:
    """A run with signals against a base that differs in its features only.

    changes: metric -> (new - base) / base, None where the base is 0.
    """

    new: Result
    base: Result
    changes: dict[str, float | None]


def best(results: Sequence[Result]) -> dict[str, float]:
    """The highest mean of each metric."""
    return {name: max(result.metrics[name] for result in results) for name in METRICS}


def differences(results: Sequence[Result], repeats: Mapping[str, str]) -> list[Difference]:
    """Every run with true signals against each of its bases, in the order of the results.

    repeats: runs that are another one once more, as the stage `significance` writes them; no comparison comes twice.
    """
    by_run = {result.run: result for result in results}
    compared = distinct(pairs({run: result.signature for run, result in by_run.items()}), repeats)
    return [_difference(by_run[new], by_run[base]) for new, base in compared]


def _difference(new: Result, base: Result) -> Difference:
    values = {name: (new.metrics[name], base.metrics[name]) for name in METRICS}
    return Difference(new, base, {name: here / there - 1 if there else None for name, (here, there) in values.items()})
