"""Two processes, talking through gloo, train as one does with the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import worker
import yaml
from safetensors.torch import load_file
from tiny_encoder import write_encoder

from lamar import tracking
from lamar.params import Tracking

REPOSITORY = Path(__file__).parents[2]
ITEMS, USERS = 20, 16  # batches of 5, 5, 5 and 1: shares of 3 and 2, and of 1 and none
TITLES = [f"word{item} word{(item + 1) % ITEMS}" for item in range(ITEMS)]
SMALL = {
    "backbone": "tiny",
    "layers": 1,
    "frozen_layers": 0,
    "pooling": "cls",
    "dropout": 0.0,
    "max_items": 9,
    "max_tokens": 64,
    "positions_per_user": 1,
    "epochs": 3,
    "patience": 3,
    "batch": 5,
    "accumulate": 2,
    "learning_rate": 0.01,
    "warmup_steps": 2,
    "precision": "float32",
}
RUN = SMALL | {"second_epochs": 1, "seeds": [0, 1], "places_per_user": 0, "next_items": 2, "negatives": 6}
LOSSES = 2 * (3 + 1) * 4  # of a run: seeds, epochs, batches
PRETRAINED = SMALL | {"sources": {"ml-100k": ["title"]}, "masked": 0.5, "masked_weight": 1.0}


def settle(folder: Path) -> None:
    """Everything that the stages read: prepared tables, sequences, a backbone and params.yaml."""
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(4, 9))) % ITEMS for _ in range(USERS)]
    items = pl.DataFrame({"item": range(ITEMS), "item_id": [str(item) for item in range(ITEMS)], "title": TITLES})
    ends = [(user, len(walk) - 2, walk[-2], walk[-1], "explore") for user, walk in enumerate(walks)]
    steps = [(user, item, 0, place) for user, walk in enumerate(walks) for place, item in enumerate(walk)]
    tables = {
        "prepared/ml-100k/items": items,
        "prepared/ml-100k/interactions": pl.DataFrame(steps, ["user", "item", "timestamp", "position"], orient="row"),
        "prepared/ml-100k/split": pl.DataFrame(ends, ["user", "train", "validation", "test", "fold"], orient="row"),
        "sequences/ml-100k/tiny/items": items.drop("item_id"),
        "sequences/ml-100k/tiny/histories": pl.DataFrame(
            [(user, walk[:-2].tolist(), walk[-2], walk[-1]) for user, walk in enumerate(walks)],
            ["user", "train", "validation", "test"],
            orient="row",
        ),
    }
    for name, table in tables.items():
        path = folder / "data" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)
    write_encoder(folder / "models/backbones/tiny", [*TITLES, "title"])
    (folder / "params.yaml").write_text(yaml.safe_dump(chosen()))


def chosen() -> dict:
    """params.yaml with one small run and one small pre-training."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["backbones"]["tiny"] = params["backbones"]["minilm"]
    params["runs"]["tiny"] = params["runs"]["recformer-original"] | RUN
    params["pretrained"]["tiny-circle"] = params["pretrained"]["games"] | PRETRAINED
    params["tracking"]["enabled"] = False
    return params


def together(folder: Path, *arguments: str, cut: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a stage in two processes, each in a folder of its own; the second fails at loss `cut`."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command = [*launcher, "--main_process_port", "0", str(Path(worker.__file__)), str(folder), str(cut), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def written(folder: Path) -> set[str]:
    """The files in a folder that were not there when it was settled."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("data/", "models/backbones/", "params.yaml"))}


def losses(folder: Path) -> list[float]:
    return [json.loads(line) for line in (folder / worker.LOSSES).read_text().splitlines()]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Of a process that trains alone, and of two that train together."""
    made = tuple(tmp_path / name for name in ("alone", "0", "1"))
    for folder in made:
        settle(folder)
    return made


def alone(folder: Path, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        worker.run(folder, *arguments)
    assert not ended.value.code


def test_fine_tuning_cut_off_and_resumed(folders):
    one, first, second = folders
    alone(one, "train", "ml-100k", "tiny")
    ended = together(one.parent, "train", "ml-100k", "tiny", cut=10)  # in the third epoch
    assert ended.returncode == 1
    print(ended.stderr)
    assert "loss 10 fails" in ended.stderr
    print(written(first), written(second), losses(first))
    resumed = together(one.parent, "train", "ml-100k", "tiny")
    print(resumed.stderr, resumed.returncode)
    print(list(zip(losses(one), losses(first), losses(second))))
    print(written(first), written(second))
    assert 0
