"""Whole runs: seeds, ranks, curves and weights."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lamar.errors import LamarError
from lamar.evaluation.ranks import SCHEMA
from lamar.models import TRAINERS
from lamar.params import PopularityRun, load
from lamar.tracking import Tracker
from lamar.training.examples import Sequences, Split, Users
from lamar.training.run import CURVE, Trained, train

REPOSITORY = Path(__file__).parents[2]
ITEMS = 15


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    rng = np.random.default_rng(0)
    train = [rng.integers(ITEMS, size=rng.integers(1, 9)) for _ in range(20)]
    validation, test = rng.integers(ITEMS, size=(2, 20))
    longer = [np.append(items, item) for items, item in zip(train, validation, strict=True)]
    users = Users(np.arange(100, 120), train, Split(train, validation), Split(longer, test))
    items = pl.DataFrame({"item": range(ITEMS), "title": [f"film {item}" for item in range(ITEMS)]})
    return Sequences(users, items)


def sasrec(sequences: Sequences, seeds: list[int], **changes) -> Trained:
    small = {"hidden": 8, "layers": 1, "heads": 2, "epochs": 2, "batch": 8, "learning_rate": 0.01, "warmup_steps": 2}
    run = load(REPOSITORY / "params.yaml").runs["sasrec"].model_copy(update=small | {"seeds": seeds} | changes)
    return train(TRAINERS[run.model], run, sequences, lambda seed: nullcontext(Tracker()))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_seed_fixes_the_weights(sequences):
    both, again = sasrec(sequences, [0, 1]), sasrec(sequences, [1])
    assert same(both.weights[1], again.weights[1])
    assert not same(both.weights[0], both.weights[1])
    assert both.ranks.filter(seed=1).equals(again.ranks)
    assert both.curve.filter(seed=1).equals(again.curve)


def test_what_a_run_leaves(sequences):
    trained = sasrec(sequences, [3, 5])
    assert dict(trained.ranks.schema) == SCHEMA
    assert trained.ranks.select("seed", "user").rows() == [(s, u) for s in (3, 5) for u in range(100, 120)]
    assert trained.ranks["item"].to_list() == sequences.users.test.targets.tolist() * 2
    assert set(trained.ranks["candidates"]) == {ITEMS}
    assert dict(trained.curve.schema) == CURVE
    assert trained.curve.select("seed", "stage", "epoch").rows() == [(3, 1, 1), (3, 1, 2), (5, 1, 1), (5, 1, 2)]
    assert trained.curve.null_count().sum_horizontal().item() == 0


def test_popularity_by_hand(sequences):
    run = PopularityRun(model="popularity", features="original", seeds=[0])
    trained = train(TRAINERS[run.model], run, sequences, lambda seed: nullcontext(Tracker()))
    counts = np.bincount(np.concatenate(sequences.users.train), minlength=ITEMS)
    mine = counts[sequences.users.test.targets]
    assert trained.ranks["greater"].to_list() == (counts > mine[:, None]).sum(1).tolist()
    assert trained.ranks["equal"].to_list() == ((counts == mine[:, None]).sum(1) - 1).tolist()
    assert trained.curve.is_empty()
    assert trained.weights[0]["counts"].tolist() == counts.tolist()


def test_a_learning_rate_that_is_far_too_high(sequences):
    with pytest.raises(LamarError, match="NaN: lower the learning rate"):
        sasrec(sequences, [0], learning_rate=1e30, warmup_steps=0, epochs=5, patience=5)
