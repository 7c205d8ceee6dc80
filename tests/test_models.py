"""What holds of every model that is trained on sequences: nothing of validation or test is learned, and cuts heal."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lamar.errors import LamarError
from lamar.models import TRAINERS
from lamar.params import AnyRun, Pretraining, load
from lamar.tracking import Tracker
from lamar.training.checkpoint import Checkpoints
from lamar.training.examples import Sequences, Split, Users
from lamar.training.run import Trained, train

REPOSITORY = Path(__file__).parents[1]
ITEMS = 30
GENRES = ["Drama", "Comedy, Drama", "Western", "Comedy", "", "Drama, Western"]
FILE = load(REPOSITORY / "params.yaml")
SHORT = Pretraining(epochs=2, batch=16, positions_per_user=2, frozen_encoder=False)
SHORT_TASKS = FILE.runs["s3rec-original"].pretraining.model_copy(update={"epochs": 2, "batch": 8})
RUNS = {
    "popularity": {},
    "sasrec": {},
    "sasrec-bce": {},
    "bert4rec": {},
    "s3rec-original": {"pretraining": SHORT_TASKS},
    "unisrec-original": {},
    "unisrec-ids-original": {},
    "unisrec-published-original": {"pretraining": SHORT},
    "zesrec-original": {},
}


def small(name: str) -> AnyRun:
    run = FILE.runs[name]
    sizes = {"hidden": 8, "layers": 1, "heads": 2, "max_items": 5, "epochs": 2, "patience": 9, "batch": 8}
    return run.model_copy(update={"seeds": [0], **(sizes if name != "popularity" else {}), **RUNS[name]})


def sequences(seed_of_validation: int = 0, seed_of_test: int = 0) -> Sequences:
    rng = np.random.default_rng(0)
    train = [rng.integers(ITEMS, size=rng.integers(1, 12)) for _ in range(20)]
    seeds = (seed_of_validation, seed_of_test)
    validation, test = (np.random.default_rng(seed).integers(ITEMS, size=20) for seed in seeds)
    longer = [np.append(items, item) for items, item in zip(train, validation, strict=True)]
    users = Users(np.arange(20), train, Split(train, validation), Split(longer, test))
    texts, dropped = rng.normal(size=(2, ITEMS, 6)).astype(np.float32)
    items = pl.DataFrame({"item": range(ITEMS), "genre": [GENRES[item % len(GENRES)] for item in range(ITEMS)]})
    return Sequences(users, items, {"text": texts, "dropped": dropped})


def trained(name: str, examples: Sequences, checkpoints: Checkpoints | None = None, tracker=Tracker) -> Trained:
    run = small(name)
    return train(TRAINERS[run.model], run, examples, lambda seed: nullcontext(tracker()), checkpoints)


def same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(tensor, other.weights[0][name]) for name, tensor in one.weights[0].items())


@pytest.mark.parametrize("name", RUNS)
def test_no_test_item_is_learned(name):
    one, other = (trained(name, sequences(seed_of_test=seed)) for seed in (0, 1))
    assert same(one, other)
    assert one.curve.equals(other.curve)
    assert not one.ranks["item"].equals(other.ranks["item"])


@pytest.mark.parametrize("name", sorted(RUNS.keys() - {"popularity"}))
def test_no_validation_item_is_learned(name):
    """It chooses the epoch that is kept, so that losses are compared; pre-training hands on a chosen epoch."""
    one, other = (trained(name, sequences(seed_of_validation=seed)).curve.filter(stage=1) for seed in (0, 1))
    assert one["loss"].equals(other["loss"])
    assert not one["validation_ndcg@10"].equals(other["validation_ndcg@10"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("unisrec-original", "text"), ("zesrec-original", "text"), ("unisrec-published-original", "dropped")],
)
def test_texts_that_were_not_encoded_are_named(name, kind):
    given = sequences()
    del given.vectors[kind]
    with pytest.raises(LamarError, match=rf"no vectors \({kind}\) of the items: python stages/encode\.py"):
        trained(name, given)


@pytest.mark.parametrize("name", ["unisrec-published-original", "s3rec-original"])
@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_training_in_two_stages_that_was_cut_off_goes_on_bit_for_bit(tmp_path, name, cut_after):
    told = []

    class Cutter(Tracker):
        def epoch(self, values, step):
            told.append(step)
            if len(told) == cut_after:
                raise InterruptedError

    whole = trained(name, sequences())
    checkpoints = Checkpoints(tmp_path, "these settings")
    with pytest.raises(InterruptedError):
        trained(name, sequences(), checkpoints, Cutter)
    torch.manual_seed(99)  # whatever the next process drew before
    again = trained(name, sequences(), checkpoints)
    assert same(again, whole)
    assert again.curve.equals(whole.curve)
    assert whole.curve["stage"].to_list() == [1, 1, 2, 2]
