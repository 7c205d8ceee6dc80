"""What runs that rank pools of candidates have reached: results by pool, and what was checked besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.evaluation import ranks as tables
from lamar.evaluation.metrics import METRICS, summarise
from lamar.files import read_json
from lamar.params import Params

SHOWN = ("recall@10", "ndcg@10", "mrr")  # the paper's, Table 4


@dataclass(frozen=True)
class Ranked:
    """One run on one kind of pools.

    users: whom it ranked; full: `users` with a full history, and their metrics; checks: of the stage rank.
    """

    run: str
    metrics: dict[str, float]
    seeds: int
    users: int
    full: dict[str, float]
    checks: dict[str, Any]


@dataclass(frozen=True)
class PoolResults:
    """All runs on one kind of pools.

    candidates: in a pool; users: at most, of a run; present: share of their pools that have the target; first: the run
    whose best items are re-ranked, '' for random ones; alone: its metrics on the same users, when its ranks are here;
    chance: metrics of a random order of the pool.
    """

    name: str
    candidates: int
    users: int
    present: float
    runs: list[Ranked]
    first: str
    alone: dict[str, float] | None
    chance: dict[str, float] | None


def read_pool_results(root: Path, dataset: str, chosen: Params) -> list[PoolResults]:
    """From metrics/<dataset>/<pools>/, in the order of params.yaml; empty when nothing was run.

    Raises LamarError naming a file that is incomplete.
    """
    folders = [root / "metrics" / dataset / name for name in chosen.pools]
    ranked = [folder for folder in folders if any(folder.glob("*.signature.json"))]
    return [_pool_results(root, folder, chosen) for folder in ranked]


def _ranks(root: Path, folder: Path) -> Path:
    """Where the ranks are whose metrics are in a folder."""
    return root / "ranks" / folder.parts[-2] / folder.name


def _pool_results(root: Path, folder: Path, chosen: Params) -> PoolResults:
    kind, ties = chosen.pools[folder.name], chosen.evaluate.ties
    found = {path.name.removesuffix(".signature.json"): read_json(path) for path in folder.glob("*.signature.json")}
    places = {run: place for place, run in enumerate(chosen.runs)}
    runs = sorted(found, key=lambda run: (places.get(run, len(places)), run))
    ranked = [_ranked(folder, run, found[run]) for run in runs]
    largest = max(ranked, key=lambda one: one.users)
    return PoolResults(
        folder.name,
        kind.candidates,
        largest.users,
        largest.checks["target_present"],
        ranked,
        kind.first or "",
        _alone(root, folder, kind.first, largest.run, ties) if kind.first else None,
        None if kind.first else _chance(kind.candidates),
    )


def _ranked(folder: Path, run: str, signature: dict[str, Any]) -> Ranked:
    metrics = read_json(folder / f"{run}.json")
    missing = [name for name in METRICS if not {name, f"{name}_std"} <= metrics.keys()]
    if missing:
        raise LamarError(f"{folder / run}.json: no {missing[0]}; evaluate this run again")
    full, checks = (read_json(folder / f"{run}.{part}.json") for part in ("full-history", "checks"))
    return Ranked(run, metrics, len(signature["seeds"]), signature["users"], full, checks)


def _alone(root: Path, folder: Path, first: str, run: str, ties: str) -> dict[str, float] | None:
    """Metrics of the first stage on the users whom `run` ranks; None when the ranks of either are not here."""
    before = _ranks(root, folder.with_name("full")) / f"{first}.parquet"
    after = _ranks(root, folder) / f"{run}.parquet"
    if not (before.exists() and after.exists()):
        return None
    whole, users = tables.read(before), tables.read(after)["user"].unique().to_list()
    same = whole.filter(pl.col("user").is_in(users), pl.col("seed") == whole["seed"][0])
    return summarise(same, ties) if same.height else None


def _chance(candidates: int) -> dict[str, float]:
    """Expected metrics when all candidates have the same score."""
    one = (np.array([0]), np.array([candidates - 1]), np.array([candidates]))
    return {name: float(metric(*one)[0]) for name, metric in METRICS.items()}


def rankers_summary(found: list[PoolResults]) -> dict[str, Any]:
    """The same numbers for summary.json: pools -> candidates, users, and for each run its metrics and checks."""
    return {
        pools.name: {
            "candidates": pools.candidates,
            "users": pools.users,
            "runs": {
                ranked.run: {"seeds": ranked.seeds, **ranked.metrics, "full_history": ranked.full} | ranked.checks
                for ranked in pools.runs
            },
            **({"first_stage": {"run": pools.first, **pools.alone}} if pools.alone else {}),
        }
        for pools in found
    }
