"""The evaluated runs of a dataset as values per user: what every comparison is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamar.errors import LamarError
from lamar.evaluation import ranks as tables
from lamar.evaluation.metrics import per_user
from lamar.files import read_json

COMPARED = ("ndcg@10", "recall@10", "mrr")


@dataclass(frozen=True)
class RunValues:
    """One run. values: (users, seeds, metrics of COMPARED); users: their numbers, ascending; items: their targets."""

    run: str
    signature: dict[str, Any]
    users: np.ndarray
    items: np.ndarray
    values: np.ndarray

    @property
    def seeds(self) -> int:
        """How many seeds were run."""
        return self.values.shape[1]


def read_runs(dataset: str, order: Sequence[str], root: Path = Path(), protocol: str = "full") -> list[RunValues]:
    """Every run with a signature in metrics/<dataset>/<protocol>, those of `order` (runs of params.yaml) first.

    Raises LamarError when there is none, its ranks are missing, or two runs rank different users or targets.
    """
    folder = root / "metrics" / dataset / protocol
    paths = {path.name.removesuffix(".signature.json"): path for path in sorted(folder.glob("*.signature.json"))}
    if not paths:
        raise LamarError(f"{folder}: no evaluated runs; run dvc repro evaluate first")
    places = {run: place for place, run in enumerate(order)}
    found = [
        _run(run, read_json(paths[run]), root / "ranks" / dataset / protocol / f"{run}.parquet")
        for run in sorted(paths, key=lambda run: places.get(run, len(places)))
    ]
    for other in found[1:]:
        if not (np.array_equal(found[0].users, other.users) and np.array_equal(found[0].items, other.items)):
            raise LamarError(
                f"ranks/{dataset}/{protocol}: {found[0].run} and {other.run} rank different users or targets, so they "
                "cannot be compared; train the older one again"
            )
    return found


def _run(run: str, signature: dict[str, Any], path: Path) -> RunValues:
    ranks = tables.read(path).sort("user", "seed")
    users = ranks["user"].unique().sort().to_numpy()
    metrics = per_user(ranks, signature["ties"])
    seeds = ranks.height // len(users)
    values = np.stack([metrics[name] for name in COMPARED], axis=1).reshape(len(users), seeds, len(COMPARED))
    return RunValues(run, signature, users, ranks["item"].to_numpy()[::seeds], values)
