"""The paper's layout: models as columns, and what a signal adds to a model beside the same model without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lamar.analysis.runs import COMPARED
from lamar.evaluation.metrics import METRICS
from lamar.report.comparison import Difference
from lamar.report.evidence import Evidence
from lamar.report.results import Result

if TYPE_CHECKING:
    from lamar.report.chapter import Chapter


@dataclass(frozen=True)
class Improvement:
    """Of one metric, relative: value, None where the base is 0; ends: low and high, None where nothing was tested."""

    value: float | None
    ends: tuple[float, float] | None = None
    significant: bool = False


@dataclass(frozen=True)
class Column:
    """A result; base: the same model without signals, None for that model itself; improvements: by metric."""

    result: Result
    base: Result | None
    improvements: dict[str, Improvement]


def columns(chapter: Chapter) -> list[Column]:
    """Every result but controls and repeated runs, those with signals behind the same model without them."""
    over = [one for one in chapter.differences if not one.base.signature["signals"]]
    improved = {one.new.run for one in over}
    alone = [one for one in _shown(chapter, over) if one.run not in improved]
    models = [one.model for one in alone]
    return [
        column
        for result in sorted(alone, key=lambda result: models.index(result.model))
        for column in (Column(result, None, {}), *_improving(result, over, chapter.evidence))
    ]


def _shown(chapter: Chapter, over: list[Difference]) -> list[Result]:
    """Without controls, and without what repeats another run unless a compared run is measured against it."""
    compared = {one.base.run for one in over} | {one.new.run for one in over}
    own = [result for result in chapter.results if result.signature["control"] == "none"]
    return [result for result in own if result.run in compared or result.run not in chapter.evidence.repeats]


def families(chapter: Chapter) -> list[list[Column]]:
    """The columns, each model's together."""
    grouped = groupby(columns(chapter), key=lambda column: (column.base or column.result).run)
    return [list(family) for _, family in grouped]


def _improving(base: Result, over: list[Difference], evidence: Evidence) -> Iterator[Column]:
    for one in over:
        if one.base is base:
            yield Column(one.new, base, {name: _improvement(one, name, evidence) for name in METRICS})


def _improvement(one: Difference, metric: str, evidence: Evidence) -> Improvement:
    tested = evidence.tested(one.new.run, one.base.run, metric) if metric in COMPARED else None
    return _with_ends(tested) if tested and tested["relative"] else Improvement(one.changes[metric])


def _with_ends(tested: dict[str, Any]) -> Improvement:
    relative = tested["relative"]
    return Improvement(relative["value"], (relative["low"], relative["high"]), tested["significant"])
