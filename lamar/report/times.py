"""How long training took, in a file per dataset that no stage writes.

Seconds differ from one run of the pipeline to the next, and its outs must not. So training tells MLflow alone, and
`collect` (the command `lamar times`) copies what MLflow knows of committed results into metrics/<dataset>/times.json,
beside the sha256 of the ranks that it is the time of: for other ranks it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lamar import tracking
from lamar.errors import LamarError
from lamar.evaluation import ranks as tables
from lamar.evaluation.metrics import METRICS, summarise
from lamar.files import read_json, sha256_of

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

Times = dict[str, dict[str, Any]]
"""Run -> machine (what trained, in words), ranks (sha256) and seconds (by seed: all epochs with their validation)."""


def times_path(root: Path, dataset: str) -> Path:
    """Where the times of a dataset's results are kept."""
    return root / "metrics" / dataset / "times.json"


def known_times(root: Path, dataset: str) -> Times:
    """The recorded times whose ranks are those that are here."""
    path = times_path(root, dataset)
    recorded = read_json(path) if path.exists() else {}
    return {run: time for run, time in recorded.items() if _digest(_ranks(root, dataset, run)) == time["ranks"]}


def collect(root: Path, dataset: str, machine: str, experiment: str) -> Times:
    """The times of every result of the dataset: those of MLflow, else those that were recorded before.

    machine: what trained, in words. Raises LamarError when the store of MLflow cannot be read.
    """
    settled = sorted((root / "ranks" / dataset / "full").glob("*.parquet"))
    try:
        found = dict(_found(dataset, settled, machine, experiment))
    except LamarError:
        raise
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' ...
        raise LamarError(f"MLflow's store cannot be read ({tracking.reason_of(error)})") from error
    return dict(sorted((known_times(root, dataset) | found).items()))


def _found(dataset: str, paths: list[Path], machine: str, experiment: str) -> Iterator[tuple[str, dict[str, Any]]]:
    client = tracking.reader()
    known = client.get_experiment_by_name(experiment)
    for path in paths if known else []:
        table = tables.read(path)
        seeds = table["seed"].unique().sort()
        seconds = {
            str(seed): _seconds(
                client, known.experiment_id, f"{dataset} {path.stem} seed {seed}", table.filter(seed=seed)
            )
            for seed in seeds
        }
        if None not in seconds.values():
            yield path.stem, {"machine": machine, "ranks": sha256_of(path), "seconds": seconds}


def _seconds(client: MlflowClient, experiment: str, name: str, ranks: pl.DataFrame) -> float | None:
    """Of the latest run with that name that ended with the metrics of these ranks; None when there is none."""
    wanted = f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment], wanted, order_by=["attributes.start_time DESC"])
    ended = summarise(ranks, "expected")
    same = next((run for run in runs if _ended_with(run, ended)), None)
    if same is None:
        return None
    return round(sum(epoch.value for epoch in client.get_metric_history(same.info.run_id, "seconds")), 1)


def _ended_with(run: Run, metrics: Mapping[str, float]) -> bool:
    told = run.data.metrics
    return all(told.get(name.replace("@", "_at_")) == metrics[name] for name in METRICS)


def _ranks(root: Path, dataset: str, run: str) -> Path | None:
    path = root / "ranks" / dataset / "full" / f"{run}.parquet"
    return path if path.exists() else None


def _digest(path: Path | None) -> str:
    return sha256_of(path) if path else ""
