"""Training times are those that MLflow has of the very results that are here."""

from pathlib import Path

import polars as pl
import pytest

from lamar import tracking
from lamar.evaluation.metrics import summarise
from lamar.evaluation.ranks import SCHEMA, write
from lamar.files import write_json
from lamar.params import Tracking
from lamar.report.times import collect, known_times, times_path

STORE = Tracking(enabled=True, experiment="times")


def ranks(greater: int, seeds: int) -> pl.DataFrame:
    columns = {"user": 7, "item": 0, "seed": range(seeds), "greater": greater, "equal": 0, "candidates": 20}
    return pl.DataFrame(columns).cast(SCHEMA)


def train(run: str, seed: int, table: pl.DataFrame, seconds: list[float]) -> None:
    """What a training tells MLflow."""
    with tracking.run(STORE, f"tiny {run} seed {seed}", {}, {}) as told:
        for step, value in enumerate(seconds, start=1):
            told.epoch({"loss": 1.0, "seconds": value}, step)
        told.metrics(summarise(table.filter(seed=seed), "expected"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path


def test_the_time_of_every_seed_whose_metrics_are_those_of_the_ranks(root: Path) -> None:
    table = ranks(3, seeds=2)
    for run in ("whole", "half", "other"):
        write(root / f"ranks/tiny/full/{run}.parquet", table)
    train("whole", 0, table, [1.0, 2.5])
    train("whole", 1, table, [2.0])
    train("whole", 1, ranks(9, seeds=2), [50.0])  # later, with another result
    train("half", 0, table, [1.0])
    found = collect(root, "tiny", "a laptop", "times")
    assert list(found) == ["whole"]
    assert found["whole"]["seconds"] == {"0": 3.5, "1": 2.0}
    assert found["whole"]["machine"] == "a laptop"

    write_json(times_path(root, "tiny"), found)
    assert known_times(root, "tiny") == found
    elsewhere = "another experiment, which knows none"
    assert collect(root, "tiny", "a desktop", elsewhere) == found
    write(root / "ranks/tiny/full/whole.parquet", ranks(4, seeds=2))
    assert known_times(root, "tiny") == {}


def test_nothing_is_recorded_where_nothing_is_known(root: Path) -> None:
    assert known_times(root, "tiny") == {}
    assert collect(root, "tiny", "a laptop", "times") == {}
