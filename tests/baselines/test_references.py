"""The comparison with RecBole: the same users, targets, histories and counts, or no comparison at all."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from lamar import params
from lamar.data.splits import leave_one_out
from lamar.errors import LamarError
from lamar.evaluation.metrics import summarise
from lamar.evaluation.ranks import SCHEMA, rank_scores
from lamar.files import read_json
from lamar.training.examples import Sequences

REPOSITORY = Path(__file__).parents[2]
RECBOLE = REPOSITORY / ".references/bin/python"
ML_100K = REPOSITORY / "data/prepared/ml-100k"
ITEMS = 90  # more than a history has: RecBole draws an item that is not in it, and never ends when there is none


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import references

    yield references
    sys.modules.pop("references")


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> Path:
    """A repository with a prepared dataset of 30 users, one with a history that RecBole cuts; all times are equal."""
    rng = np.random.default_rng(0)
    lengths = [70, *rng.integers(4, 9, 29)]  # of three interactions RecBole would learn the second
    users = np.repeat(np.arange(len(lengths)), lengths)
    interactions = pl.DataFrame(
        {
            "user": users.astype(np.int32),
            "item": np.concatenate([np.arange(ITEMS), rng.integers(ITEMS, size=len(users) - ITEMS)]).astype(np.int32),
            "timestamp": 0,
            "position": np.concatenate([np.arange(length) for length in lengths]).astype(np.int32),
        }
    )
    folder = tmp_path / "data/prepared/tiny"
    folder.mkdir(parents=True)
    interactions.write_parquet(folder / "interactions.parquet")
    ids = pl.Series("user_id", [f"u{user}" for user in range(len(lengths))])
    leave_one_out(interactions, ids, 0.5, 0).write_parquet(folder / "split.parquet")
    genres = ["Drama" if item % 3 else "" for item in range(ITEMS)]  # an item without attributes among them
    genres = [f"{genre}, Comedy" if item % 2 else genre for item, genre in enumerate(genres)]
    items = {"item": range(ITEMS), "title": "A title", "genre": genres}
    pl.DataFrame(items, schema_overrides={"item": pl.Int32}).write_parquet(folder / "items.parquet")
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def popularity_of(atomic: Path) -> pl.DataFrame:
    """The ranks of popularity from nothing but RecBole's file, by RecBole's rules."""
    table = pl.read_csv(atomic, separator="\t").sort("user_id:token", "timestamp:float")
    histories = table.group_by("user_id:token", maintain_order=True).agg("item_id:token")
    items = [np.array(history) for history in histories["item_id:token"]]
    counts = np.bincount(
        np.concatenate([history[:-2] for history in items]), minlength=table["item_id:token"].max() + 1
    )
    targets = np.array([history[-1] for history in items])
    greater, equal = rank_scores(np.tile(counts, (len(targets), 1)).astype(np.float32), targets)
    columns = {"user": histories["user_id:token"], "item": targets, "seed": 0, "greater": greater, "equal": equal}
    return pl.DataFrame(columns | {"candidates": len(counts)}).cast(SCHEMA)


def written(benchmark: ModuleType, sequences: Sequences, path: Path, **changes) -> Path:
    """What RecBole's side writes of its popularity when the two agree, with `changes`."""
    users = sequences.users
    greater, equal, candidates = benchmark.popularity_ranks(users, ITEMS)
    cut = [history[-50:] for history in users.test.histories]
    histories = np.array([[*history, *[-1] * (50 - len(history))] for history in cut])
    found = {"user": users.ids, "item": users.test.targets, "histories": histories, "greater": greater, "equal": equal}
    found |= {"candidates": np.full(len(users.ids), candidates)} | changes
    np.savez(path, **{name: values[::-1] for name, values in found.items()})  # in another order
    return path


def test_the_exported_file_has_the_popularity_of_the_split(benchmark, prepared):
    sequences = benchmark.read_prepared("tiny", prepared / "work")
    ranks = popularity_of(prepared / "work/lamar-tiny/lamar-tiny.inter")
    greater, equal, candidates = benchmark.popularity_ranks(sequences.users, ITEMS)
    assert ranks["item"].to_list() == sequences.targets.tolist()
    assert ranks["greater"].to_list() == greater.tolist()
    assert ranks["equal"].to_list() == equal.tolist()
    assert set(ranks["candidates"]) == {candidates}


@pytest.mark.skipif(not ML_100K.exists(), reason="no data/prepared/ml-100k: dvc repro prepare")
def test_the_exported_ml_100k_has_the_committed_popularity(benchmark, tmp_path):
    atomic = tmp_path / "lamar-ml-100k"
    benchmark.export(atomic, pl.read_parquet(ML_100K / "interactions.parquet"))
    found = summarise(popularity_of(atomic / "lamar-ml-100k.inter"), "expected")
    assert found == read_json(REPOSITORY / "metrics/ml-100k/full/popularity.json")


def test_what_agrees_is_compared(benchmark, prepared):
    sequences = benchmark.read_prepared("tiny", prepared / "work")
    benchmark.check(written(benchmark, sequences, prepared / "ranks.npz"), sequences.users, ITEMS)


@pytest.mark.parametrize("name", ["user", "item", "histories", "greater", "equal", "candidates"])
def test_what_differs_is_not_compared(benchmark, prepared, name):
    sequences = benchmark.read_prepared("tiny", prepared / "work")
    with np.load(written(benchmark, sequences, prepared / "ranks.npz")) as found:
        values = found[name][::-1].copy()
    values[-1] += 1
    other = written(benchmark, sequences, prepared / "other.npz", **{name: values})
    with pytest.raises(LamarError, match=f"another {name}"):
        benchmark.check(other, sequences.users, ITEMS)


def test_a_user_whom_recbole_leaves_out_is_seen(benchmark, prepared):
    sequences = benchmark.read_prepared("tiny", prepared / "work")
    with np.load(written(benchmark, sequences, prepared / "ranks.npz")) as found:
        np.savez(prepared / "fewer.npz", **{name: found[name][1:] for name in found})
    with pytest.raises(LamarError, match="another user"):
        benchmark.check(prepared / "fewer.npz", sequences.users, ITEMS)


def test_a_python_without_recbole_is_one_line_and_leaves_nothing(benchmark, prepared):
    done = CliRunner().invoke(benchmark.main, ["tiny", "--python", sys.executable, "--model", "SASRec"])
    assert done.exit_code == 1
    assert "RecBole's Popularity ended with 1: ModuleNotFoundError: No module named 'recbole'" in done.output
    assert list(prepared.rglob("*.npz*")) == []
    done = CliRunner().invoke(benchmark.main, ["tiny", "--python", "absent/python"])
    assert "absent/python: no such file; make RecBole's environment" in done.output


def test_ours_is_trained_once_and_read_as_a_ranks_table(benchmark, prepared):
    sequences = benchmark.read_prepared("tiny", prepared / "work")
    comparison = benchmark.Comparison("tiny", "", prepared / "work", sequences, [4], 2, False)
    path = comparison.own("sasrec-converged", 4)
    trained = benchmark.read(path, 4)
    assert dict(trained.ranks.schema) == SCHEMA
    assert trained.ranks["user"].to_list() == sequences.ids.tolist()
    assert set(trained.ranks["seed"]) == {4}
    assert len(trained.seconds) == 2
    assert 0 < trained.validation <= 1
    before = path.stat().st_mtime_ns
    assert comparison.own("sasrec-converged", 4).stat().st_mtime_ns == before
    longer = benchmark.Comparison("tiny", "", prepared / "work", sequences, [4], 3, False)
    assert longer.own("sasrec-converged", 4) != path


def test_a_summary_is_of_all_seeds(benchmark):
    def trained(seed: int, greater: int, seconds: list[float]):
        columns = {"user": [0, 1], "item": [1, 2], "seed": seed, "greater": greater, "equal": 0, "candidates": 9}
        return benchmark.Trained(pl.DataFrame(columns).cast(SCHEMA), np.array(seconds), 0.25 * (seed + 1))

    found = benchmark.summary([trained(0, 0, [1.0, 2.0]), trained(1, 10, [3.0])], users=2)
    assert (found["seeds"], found["recall@10"], found["recall@10_std"]) == (2, 0.5, 0.707107)
    assert (found["epochs"], found["seconds"], found["users_per_second"]) == (1.5, 3.0, 1.0)
    assert found["validation_ndcg@10"] == 0.375


def test_every_setting_is_known_for_every_model(benchmark):
    runs = params.load(REPOSITORY / "params.yaml").runs
    for ours in (benchmark.RUNS, benchmark.AMAZON_RUNS):
        assert {model: runs[run].model for model, run in ours.items()} == {
            "SASRec": "sasrec",
            "BERT4Rec": "bert4rec",
            "S3Rec": "s3rec",
        }
    assert benchmark.SETTINGS.keys() == {*benchmark.RUNS, benchmark.POPULARITY}
    first = {model: next(iter(settings)) for model, settings in benchmark.SETTINGS.items()}
    assert first.pop("S3Rec") == "pretrained-50"  # the default is 500
    assert set(first.values()) == {benchmark.DEFAULT}


@pytest.mark.slow
@pytest.mark.skipif(not RECBOLE.exists(), reason="no environment of RecBole: docs/baselines.md")
def test_recbole_ranks_our_split(benchmark, prepared):
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["datasets"]["tiny"] = settings["datasets"]["ml-100k"]
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    options = ["--python", str(RECBOLE), "--seeds", "1", "--epochs", "1", "--defaults"]
    done = CliRunner().invoke(benchmark.main, ["tiny", *options])
    assert done.exit_code == 0, done.output
    assert "RecBole has our 30 test users, targets, histories and popularity" in done.output
    found = json.loads((prepared / "benchmarks/results/references-tiny-1-epochs.json").read_text())
    for model, setting in {"SASRec": "default", "BERT4Rec": "default", "S3Rec": "pretrained-50"}.items():
        epochs = 2 if model == "S3Rec" else 1  # one of each stage
        assert found["models"][model]["RecBole"]["setting"] == setting
        assert found["models"][model]["RecBole"]["epochs"] == found["models"][model]["LaMAR"]["epochs"] == epochs
        assert list(found["models"][model])[-1] == "ratio"
        assert f"| {model} | RecBole | {setting} | 0." in done.output
