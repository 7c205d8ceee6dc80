"""Every committed result: the metrics of a run, and the signature beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamar.errors import LamarError
from lamar.evaluation.metrics import METRICS
from lamar.files import read_json


@dataclass(frozen=True)
class Result:
    """One run on one dataset. metrics: name -> mean over seeds, and name_std; signature: what made them."""

    run: str
    metrics: dict[str, float]
    signature: dict[str, Any]

    @property
    def model(self) -> str:
        """The recommender."""
        return self.signature["model"]

    @property
    def features(self) -> str:
        """The name of what it reads of an item."""
        return self.signature["features"]

    @property
    def seeds(self) -> int:
        """How many seeds were run."""
        return len(self.signature["seeds"])


def load_results(metrics: Path, order: Sequence[str]) -> dict[str, list[Result]]:
    """Results of metrics/<dataset>/full/<run>.json by dataset; runs in the order of params.yaml, others after.

    Raises LamarError when there is none, or one is incomplete.
    """
    found = defaultdict(list)
    for path in sorted(metrics.glob("*/full/*.json")):
        if not path.name.endswith(".signature.json"):
            found[path.parts[-3]].append(_load(path))
    if not found:
        raise LamarError(f"{metrics}: no results to report; run dvc repro first")
    places = {run: place for place, run in enumerate(order)}
    return {name: sorted(results, key=lambda r: places.get(r.run, len(places))) for name, results in found.items()}


def _load(path: Path) -> Result:
    result = Result(path.stem, read_json(path), read_json(path.with_suffix(".signature.json")))
    missing = [name for name in METRICS if not {name, f"{name}_std"} <= result.metrics.keys()]
    if missing:
        raise LamarError(f"{path}: no {missing[0]}; evaluate this run again")
    return result
