"""The stage `sequences` under every control, on three films."""

import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from lamar.params import load

REPOSITORY = Path(__file__).parents[2]
TITLES = ["Fargo (1996)", "Contact (1997)", "Scream (1996)"]
SIGNALS = ["dark and dry", "a calm search for others", ""]


@pytest.fixture
def run_stage(tmp_path, monkeypatch):
    """Runs the stage for a run on `ml-100k` in an empty folder; the result and the items' texts."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "stages"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    ids = ["a", "b", "c"]
    three = [0, 1, 2]
    tables = {
        "prepared/ml-100k/items": {"item": three, "item_id": ids, "title": TITLES, "genre": ["Crime", "Sci-Fi", ""]},
        "prepared/ml-100k/interactions": {"user": [0] * 3, "item": three, "timestamp": [1] * 3, "position": three},
        "prepared/ml-100k/split": {"user": [0], "train": [1], "validation": [1], "test": [2], "fold": ["explore"]},
        "signals/ml-100k/qwen-coder": {
            "item_id": ids,
            "name": "Mood and Themes",
            "signal": SIGNALS,
            "kept": [True, True, False],
        },
    }
    for name, columns in tables.items():
        path = tmp_path / f"data/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(columns).write_parquet(path)

    def run(name: str):
        from sequences import main

        done = CliRunner().invoke(main, ["ml-100k", name])
        written = tmp_path / f"data/sequences/ml-100k/{name}/items.parquet"
        return done, pl.read_parquet(written) if written.exists() else None

    yield run
    sys.modules.pop("sequences", None)


def test_signal_only_leaves_out_the_attributes(run_stage):
    _, items = run_stage("recformer-signal-only")
    assert items.columns == ["item", "Mood and Themes"]
    assert items["Mood and Themes"].to_list() == SIGNALS


@pytest.mark.parametrize("run", ["recformer-random-words", "recformer-placebo"])
def test_a_control_keeps_attributes_and_the_number_of_words(run_stage, run):
    _, items = run_stage(run)
    assert items.columns == ["item", "title", "genre", "Mood and Themes"]
    read = [len(text.split()) for text in items["Mood and Themes"]]
    assert sorted(read) == sorted(len(text.split()) for text in SIGNALS)
    assert items["Mood and Themes"].to_list() != SIGNALS


def test_a_dataset_without_descriptions_is_named(run_stage):
    done, items = run_stage("recformer-description")
    assert done.exit_code == 1
    assert items is None
    assert "features 'description' of dataset 'ml-100k': its items have no column 'description'" in done.stderr


def test_every_control_has_a_run():
    chosen = load(REPOSITORY / "params.yaml")
    assert {chosen.features[run.features].control for run in chosen.runs.values()} == {
        "none",
        "shuffled",
        "random-words",
        "description",
        "signal-only",
    }
