"""Everything the page and the tables say about one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lamar.analysis.groups import range_names
from lamar.params import Buckets, Params
from lamar.report.browser import browser_data
from lamar.report.catalogue import SignalSet, read_signal_sets, read_statistics
from lamar.report.comparison import Difference, differences
from lamar.report.costs import Cost, costs
from lamar.report.evidence import Evidence, read_evidence
from lamar.report.falling import Falling, read_falling
from lamar.report.rankers import PoolResults, read_pool_results
from lamar.report.results import Result, load_results
from lamar.report.ties import Ties, read_ties


@dataclass(frozen=True)
class Chapter:
    """Of one dataset. browser: see `browser_data`.

    untried: controls of params.yaml under which nothing was run; unshown: groups of users that are too small.
    """

    name: str
    results: list[Result]
    ties: dict[str, Ties]
    differences: list[Difference]
    costs: list[Cost]
    untried: list[str]
    unshown: list[str]
    statistics: dict[str, Any]
    signals: list[SignalSet]
    evidence: Evidence
    browser: dict[str, Any] | None
    rankers: list[PoolResults]
    falling: list[Falling]

    @property
    def users(self) -> int:
        """How many users were tested, or are in the dataset; 0 when nobody counted."""
        return (self.evidence.significance or self.statistics).get("users", 0)


def chapters(root: Path, chosen: Params, only: Sequence[str] = ()) -> list[Chapter]:
    """One for each dataset (of `only`, if there are any) that has results, the one with most users first.

    Raises LamarError when there is none.
    """
    by_dataset = load_results(root / "metrics", list(chosen.runs))
    wanted = {name: results for name, results in by_dataset.items() if name in (only or by_dataset)}
    found = [_chapter(root, name, results, chosen) for name, results in wanted.items()]
    return sorted(found, key=lambda chapter: (-chapter.users, chapter.name))


def _chapter(root: Path, name: str, results: list[Result], chosen: Params) -> Chapter:
    evidence = read_evidence(root, name)
    return Chapter(
        name,
        results,
        read_ties(root, name, results),
        differences(results, evidence.repeats),
        costs(root, name, results),
        _untried(results, chosen),
        _unshown(evidence.buckets, chosen.buckets),
        read_statistics(root, name),
        read_signal_sets(root, name, chosen.report),
        evidence,
        browser_data(root, name, results),
        read_pool_results(root, name, chosen),
        read_falling(root, name, chosen),
    )


def _untried(results: list[Result], chosen: Params) -> list[str]:
    tried = {result.signature["control"] for result in results}
    return [name for name, features in chosen.features.items() if features.control not in tried]


def _unshown(table: pl.DataFrame | None, chosen: Buckets) -> list[str]:
    """The groups by numbers that params.yaml names and the table does not have: "popularity 0"."""
    if table is None:
        return []
    shown = set(table.select("by", "bucket").iter_rows())
    ranged = {"popularity": chosen.popularity, "history": chosen.history}
    return [f"{by} {name}" for by, edges in ranged.items() for name in range_names(edges) if (by, name) not in shown]
