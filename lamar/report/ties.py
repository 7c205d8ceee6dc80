"""How many other candidates have the same score as a user's target: what a model cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lamar.evaluation import ranks as tables
from lamar.report.results import Result


@dataclass(frozen=True)
class Ties:
    """Over the users and seeds of a run: candidates that tie with the target, and of how many others."""

    median: float
    mean: float
    others: int

    @property
    def share(self) -> float:
        """The mean as a share of all other candidates."""
        return self.mean / self.others


def read_ties(root: Path, dataset: str, results: Sequence[Result]) -> dict[str, Ties]:
    """By run, of the results whose ranks are here."""
    paths = {result.run: root / "ranks" / dataset / "full" / f"{result.run}.parquet" for result in results}
    return {run: _ties(path) for run, path in paths.items() if path.exists()}


def _ties(path: Path) -> Ties:
    ranks = tables.read(path)
    equal = ranks["equal"]
    return Ties(float(equal.median()), float(equal.mean()), int(ranks["candidates"].max()) - 1)
