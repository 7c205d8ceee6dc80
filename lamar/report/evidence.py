"""What earlier stages found out about a dataset's results: read for the page and the tables, absent where not made."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lamar.analysis.runs import COMPARED
from lamar.files import read_json
from lamar.report.results import Result

BASE_MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Evidence:
    """Of one dataset. buckets: columns of lamar.analysis.buckets.SCHEMA; paper: of, table, systems (see paper.toml).

    rated: the paper's ratings of signals, where the dataset is one of those that they are of.
    """

    significance: dict[str, Any] | None
    buckets: pl.DataFrame | None
    paper: dict[str, Any] | None
    rated: dict[str, Any] | None

    @property
    def repeats(self) -> dict[str, str]:
        """Run -> the run that it equals for every user."""
        return self.significance["repeats"] if self.significance else {}

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Every compared pair, as the stage `significance` writes it."""
        return self.significance["pairs"] if self.significance else []

    def interval(self, run: str, metric: str) -> dict[str, float] | None:
        """Value, low and high of a run's metric; None where there is none."""
        return (self.significance or {"runs": {}})["runs"].get(run, {}).get(metric)

    def tested(self, run: str, against: str, metric: str) -> dict[str, Any] | None:
        """What was found of a pair's metric; None where the pair was not compared."""
        found = (pair[metric] for pair in self.pairs if (pair["run"], pair["against"]) == (run, against))
        return next(found, None)


def read_evidence(root: Path, dataset: str) -> Evidence:
    """From metrics/<dataset>/significance.json and buckets.csv, and from the paper's figures."""
    folder = root / "metrics" / dataset
    significance, buckets = folder / "significance.json", folder / "buckets.csv"
    paper = tomllib.loads((Path(__file__).parent / "paper.toml").read_text())
    return Evidence(
        read_json(significance) if significance.exists() else None,
        pl.read_csv(buckets, schema_overrides={"bucket": pl.String, "against": pl.String})
        if buckets.exists()
        else None,
        paper["datasets"].get(dataset),
        paper["ratings"] if dataset in paper["ratings"]["datasets"] else None,
    )


def letters(evidence: Evidence) -> dict[str, str]:
    """A letter for each run that others are compared with."""
    bases = dict.fromkeys(pair["against"] for pair in evidence.pairs)
    return dict(zip(bases, BASE_MARKS, strict=False))


def marks(result: Result, metric: str, evidence: Evidence) -> str:
    """The letters of the runs that differ significantly from `result`; '' for metrics that are not tested."""
    if metric not in COMPARED:
        return ""
    known = letters(evidence)
    own = [pair for pair in evidence.pairs if pair["run"] == result.run and pair[metric]["significant"]]
    return "".join(sorted(known[pair["against"]] for pair in own))
