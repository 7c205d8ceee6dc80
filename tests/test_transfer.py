"""Zero-shot: what was learned of one catalogue's texts ranks another catalogue."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.torch import save_file

from lamar.engine import here
from lamar.errors import LamarError
from lamar.evaluation.metrics import summarise
from lamar.models import TRAINERS
from lamar.params import AnyRun, load
from lamar.tracking import Tracker
from lamar.training.examples import Sequences, Split, Users
from lamar.training.run import ranks_table, train
from lamar.transfer import TEXT_MODELS, transfer

REPOSITORY = Path(__file__).parents[1]
TEXTS = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)


def run_of(name: str) -> AnyRun:
    sizes = {"hidden": 32, "layers": 1, "dropout": 0.0, "max_items": 8, "batch": 32, "epochs": 20, "patience": 20}
    changes = sizes | {"learning_rate": 0.005, "warmup_steps": 10, "seeds": [0, 1]}
    return load(REPOSITORY / "params.yaml").runs[name].model_copy(update=changes)


def catalogue(order: np.ndarray, users: int) -> Sequences:
    """Everybody walks around the same circle of texts; `order` holds the text of each item."""
    rng = np.random.default_rng(users)
    places = np.argsort(order)
    walks = [places[(rng.integers(20) + np.arange(rng.integers(4, 15))) % 20] for _ in range(users)]
    last = [np.array([items[place] for items in walks]) for place in (-2, -1)]
    train = [items[:-2] for items in walks]
    everybody = Users(np.arange(users), train, Split(train, last[0]), Split([items[:-1] for items in walks], last[1]))
    return Sequences(everybody, pl.DataFrame({"item": range(len(order))}), {"text": TEXTS[order]})


# Items' own vectors hold a part of what was learned, and stay behind.
@pytest.mark.parametrize(("name", "least"), [("zesrec-original", 0.8), ("unisrec-ids-original", 0.6)])
def test_a_catalogue_that_was_never_seen_is_ranked_by_its_texts(tmp_path, name, least):
    run, source = run_of(name), catalogue(np.arange(20), 80)
    trained = train(TRAINERS[run.model], run, source, lambda seed: nullcontext(Tracker()))
    for seed, weights in trained.weights.items():
        save_file(weights, tmp_path / f"seed-{seed}.safetensors")
    other = catalogue(np.random.default_rng(1).permutation(20), 30)
    ranks = transfer(run, other, tmp_path)
    assert ranks["user"].n_unique() == 30
    assert set(ranks["seed"]) == {0, 1}
    assert summarise(ranks, "expected")["ndcg@10"] > least  # by chance: 0.23
    larger = catalogue(np.arange(20), 30)
    larger.vectors["text"] = np.concatenate([larger.vectors["text"], TEXTS[:3] + 5])
    assert set(transfer(run, larger, tmp_path)["candidates"]) == {23}  # a catalogue of another size


def test_blocks_of_users_rank_as_all_do_at_once(tmp_path, monkeypatch):
    """In batches of the same users, so that not even rounding differs."""
    run = run_of("zesrec-original").model_copy(update={"seeds": [0], "batch": 4})
    many = catalogue(np.arange(20), 150)
    model = TEXT_MODELS[run.model](run, many)
    save_file(model.state_dict(), tmp_path / "seed-0.safetensors")
    whole = ranks_table(model, many, run, 0)
    monkeypatch.setattr("lamar.transfer.BATCHES", 2)
    blocks = []

    def counting(cut, load, gpu=False):
        for number, table in here(cut, load):
            blocks.append(table.height)
            yield number, table

    assert_frame_equal(transfer(run, many, tmp_path, counting), whole.sort("seed", "user"))
    assert blocks == [32, 32, 32, 32, 22]


def test_a_model_of_ids_transfers_nothing(tmp_path):
    with pytest.raises(LamarError, match=r"matrix\.transfers: sasrec knows its own items alone"):
        transfer(run_of("sasrec"), catalogue(np.arange(20), 5), tmp_path)


def test_a_source_that_was_not_trained_on(tmp_path):
    with pytest.raises(LamarError, match=r"seed-0\.safetensors: no such file; train this run on the source first"):
        transfer(run_of("zesrec-original"), catalogue(np.arange(20), 5), tmp_path)
