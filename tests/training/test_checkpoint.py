"""A training that was cut off and goes on ends with the same bits as one that was never cut off."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lamar.models import TRAINERS
from lamar.params import load
from lamar.tracking import Tracker
from lamar.training.checkpoint import Checkpoint, Checkpoints, fingerprint
from lamar.training.examples import Sequences, Split, Users
from lamar.training.run import Trained, train

REPOSITORY = Path(__file__).parents[2]
ITEMS = 15


class Cut(Exception):
    """Stands for whatever ends a process."""


def sequences() -> Sequences:
    rng = np.random.default_rng(0)
    train = [rng.integers(ITEMS, size=rng.integers(2, 30)) for _ in range(20)]
    validation, test = rng.integers(ITEMS, size=(2, 20))
    longer = [np.append(items, item) for items, item in zip(train, validation, strict=True)]
    users = Users(np.arange(20), train, Split(train, validation), Split(longer, test))
    return Sequences(users, pl.DataFrame({"item": range(ITEMS), "title": [f"film {item}" for item in range(ITEMS)]}))


def cut() -> None:
    raise Cut


def trained(folder: Path | None, cut_after: int | None = None, end: Callable[[], None] = cut) -> Trained:
    """Train SASRec with dropout for two seeds; `end` it when `cut_after` epochs in all have been told."""
    small = {"hidden": 8, "layers": 1, "heads": 2, "max_items": 5, "epochs": 5, "patience": 5, "batch": 8}
    run = load(REPOSITORY / "params.yaml").runs["sasrec"]
    run = run.model_copy(update=small | {"seeds": [0, 1], "dropout": 0.3, "learning_rate": 0.01, "warmup_steps": 3})
    told = []

    class Teller(Tracker):
        def epoch(self, values, step):
            told.append(step)
            if len(told) == cut_after:
                end()

    checkpoints = folder and Checkpoints(folder, "these settings")
    return train(TRAINERS[run.model], run, sequences(), lambda seed: nullcontext(Teller()), checkpoints)


def assert_same(one: Trained, other: Trained) -> None:
    assert one.ranks.equals(other.ranks)
    assert one.curve.equals(other.curve)
    for seed, weights in one.weights.items():
        assert all(torch.equal(weights[name], other.weights[seed][name]) for name in weights)


@pytest.fixture(scope="module")
def whole() -> Trained:
    return trained(None)


@pytest.mark.parametrize("epochs", [1, 3, 5, 6, 9])
def test_it_goes_on_bit_for_bit(tmp_path, whole, epochs):
    with pytest.raises(Cut):
        trained(tmp_path, cut_after=epochs)
    torch.manual_seed(99)  # whatever the next process drew before
    assert_same(trained(tmp_path), whole)


def test_cut_off_again_and_again(tmp_path, whole):
    for epochs in range(2, 10):  # the epochs that were done are told again, so one more is done each time
        with pytest.raises(Cut):
            trained(tmp_path, cut_after=epochs)
    assert_same(trained(tmp_path), whole)


def test_another_trainings_checkpoint_is_not_read(tmp_path):
    mine = Checkpoint(tmp_path / "a.safetensors", "mine")
    assert mine.load() is None
    mine.save({"model": {"x": torch.ones(2)}}, {"step": 3})
    state, notes = mine.load()
    assert (state["model"]["x"].tolist(), notes) == ([1.0, 1.0], {"step": 3})
    assert Checkpoint(tmp_path / "a.safetensors", "other").load() is None


def test_a_fingerprint_is_of_what_it_is_made_from():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


CHILD = """
import os, signal, sys
import torch
from pathlib import Path
from test_checkpoint import trained
torch.set_num_threads(1)
trained(Path(sys.argv[1]), cut_after=7, end=lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_killed_outright(tmp_path, whole):
    paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    ended = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    assert ended.returncode == -signal.SIGKILL
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "seed-0-stage-1.safetensors",
        "seed-1-stage-1.safetensors",
    ]
    assert_same(trained(tmp_path), whole)
