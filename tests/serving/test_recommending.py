"""Trained models recommend what they learned, by the ids of the data."""

import numpy as np
import polars as pl
import pytest
import yaml
from circle import DATASET, IDS, ITEMS, RUNS

from lamar.errors import LamarError
from lamar.evaluation import ranks
from lamar.files import write_parquet
from lamar.params import load
from lamar.serving.models import load as load_model
from lamar.serving.recommender import Recommender, best
from lamar.serving.repository import trained_run
from lamar.training import fit
from lamar.training.examples import read_sequences


def recommender(run: str, seed: int | None = None) -> Recommender:
    return Recommender(trained_run(load(), DATASET, run, seed))


def change_params(shop, **changes) -> None:
    settings = yaml.safe_load((shop / "params.yaml").read_text())
    for run, values in changes.items():
        settings["runs"][run] |= values
    (shop / "params.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize("run", RUNS)
def test_a_loaded_model_ranks_as_it_did_after_training(shop, run):
    trained = trained_run(load(), DATASET, run)
    greater, equal, _ = fit.ranks(load_model(trained), read_sequences(DATASET, run).test, trained.run)
    written = ranks.read(shop / f"ranks/{DATASET}/full/{run}.parquet").filter(seed=trained.run.seeds[0])
    assert greater.tolist() == written["greater"].to_list()
    assert equal.tolist() == written["equal"].to_list()


@pytest.mark.parametrize("run", ["sasrec", "s3rec-original", "recformer-original"])
def test_the_next_of_the_circle_is_recommended_first(shop, run):
    histories = [[IDS[(start + step) % ITEMS] for step in range(4)] for start in range(ITEMS)]
    first = recommender(run).recommend(histories, 3).filter(rank=1)
    assert first["row"].to_list() == list(range(ITEMS))
    right = [item == IDS[(row + 4) % ITEMS] for row, item in first.select("row", "item_id").iter_rows()]
    assert np.mean(right) > 0.8


def test_a_table_of_recommendations(shop):
    found = recommender("popularity").recommend([[], [IDS[0]]], 4)
    counts = np.bincount(np.concatenate(read_sequences(DATASET, "popularity").users.train), minlength=ITEMS)
    order = np.argsort(-counts, kind="stable")[:4]
    assert found.columns == ["row", "rank", "item_id", "title", "score"]
    mine = found.filter(row=0)
    assert mine["item_id"].to_list() == [IDS[item] for item in order]
    assert mine["score"].to_list() == counts[order].tolist()
    assert mine["rank"].to_list() == [1, 2, 3, 4]
    names = dict(pl.read_parquet(f"data/prepared/{DATASET}/items.parquet").select("item_id", "name").iter_rows())
    assert found["title"].to_list() == [names[item] for item in found["item_id"]]


@pytest.mark.parametrize("run", RUNS)
def test_items_of_the_history_are_left_out_unless_asked_for(shop, run):
    model = recommender(run)
    history = IDS[:5]
    assert set(model.recommend([history], ITEMS)["item_id"]) == set(IDS) - set(history)
    assert set(model.recommend([history], ITEMS, repeat=True)["item_id"]) == set(IDS)


def test_of_equal_scores_the_first_comes_first():
    scores = np.array([1, 5, 3, 5, 3, 3], np.float32)
    assert best(scores, 4, []).tolist() == [1, 3, 2, 4]
    assert best(scores, 4, [1, 2]).tolist() == [3, 4, 5, 0]
    assert best(scores, 9, [0]).tolist() == [1, 3, 2, 4, 5]
    assert best(scores, 2, range(6)).tolist() == []


def test_no_users(shop):
    assert recommender("sasrec").recommend([], 5).is_empty()


def test_unknown_ids_are_named(shop):
    with pytest.raises(
        LamarError, match=r"2 unknown item id\(s\): 'sku-99', 'lamp'; the catalogue's are like 'sku-00'"
    ):
        recommender("sasrec").recommend([["sku-99", IDS[0]], ["lamp"]], 5)


def test_nobody_s_history(shop):
    with pytest.raises(LamarError, match="history 2 is empty, of which sasrec has learned nothing"):
        recommender("sasrec").recommend([[IDS[0]], []], 5)
    assert recommender("recformer-original").recommend([[]], 5).height == 5


def test_a_seed_is_chosen(shop):
    first, named, other = (recommender("sasrec", seed).recommend([IDS[:3]], 5) for seed in (None, 3, 5))
    assert first.equals(named)
    assert not first.equals(other)
    with pytest.raises(LamarError, match="sasrec has no seed 0; it has 3, 5"):
        recommender("sasrec", 0)


@pytest.mark.parametrize(
    ("dataset", "run", "command"),
    [
        (DATASET, "sasrec", "dvc repro train@circle-sasrec"),
        (
            "ml-100k",
            "sasrec",
            r"dvc exp run -S 'matrix.datasets=\[ml-100k\]' -S 'matrix.runs=\[sasrec\]' train@ml-100k-",
        ),
    ],
)
def test_a_run_that_is_not_trained(shop, dataset, run, command):
    (shop / f"models/{DATASET}/sasrec/seed-3.safetensors").unlink()
    with pytest.raises(LamarError, match=f"no such file; train this run with: {command}"):
        trained_run(load(), dataset, run)


def test_a_model_that_ranks_pools(shop):
    with pytest.raises(LamarError, match="lora-lamar: lora is not served"):
        trained_run(load(), DATASET, "lora-lamar")


@pytest.mark.parametrize(("run", "changes"), [("sasrec", {"hidden": 8}), ("recformer-original", {"layers": 1})])
def test_settings_that_changed_since(shop, run, changes):
    change_params(shop, **{run: changes})
    with pytest.raises(LamarError, match=f"{run}: its settings have changed since it was trained"):
        recommender(run)


def test_items_that_changed_since(shop):
    path = shop / f"data/prepared/{DATASET}/items.parquet"
    write_parquet(path, pl.read_parquet(path)[1:])
    with pytest.raises(LamarError, match="was trained on 16 items, the dataset has 15 by now; train it again"):
        recommender("sasrec")
