"""Items without training: encoded as the others were, recommended and read."""

import numpy as np
import polars as pl
import pytest
import torch
from circle import ATTRIBUTES, DATASET, IDS, ITEMS, WORDS, texts

from lamar.errors import LamarError
from lamar.params import load
from lamar.serving.new_items import with_new_items
from lamar.serving.recommender import Recommender
from lamar.serving.repository import trained_run

TWINS = [4, 9]  # new items that read exactly as these


def new_items(signal: bool = True, **changes) -> pl.DataFrame:
    columns = {"item_id": ["new-a", "new-b"], **texts(TWINS)} | changes
    return pl.DataFrame(columns | ({"signal": [WORDS[twin] for twin in TWINS]} if signal else {}))


def extended(run: str, new: pl.DataFrame):
    return with_new_items(trained_run(load(), DATASET, run), new, ATTRIBUTES)


@pytest.mark.parametrize(("run", "signal"), [("recformer-original", False), ("recformer-lamar", True)])
def test_what_reads_the_same_scores_the_same(shop, run, signal):
    model = Recommender(extended(run, new_items(signal)))
    histories = [[IDS[(start + step) % ITEMS] for step in range(4)] for start in range(ITEMS)]
    scores = model.recommend(histories, ITEMS + 2, repeat=True).pivot("item_id", index="row", values="score")
    for new, twin in zip(["new-a", "new-b"], TWINS, strict=True):
        np.testing.assert_allclose(scores[new], scores[IDS[twin]], atol=1e-5)


def test_a_new_item_may_be_in_a_history(shop):
    model = Recommender(extended("recformer-lamar", new_items()))
    old, new = model.recommend([[IDS[3], IDS[4]], [IDS[3], "new-a"]], 1).partition_by("row")
    assert new["item_id"].to_list() == old["item_id"].to_list() == [IDS[5]]


def test_a_signal_is_read_and_may_be_missing(shop):
    with_signal = extended("recformer-lamar", new_items())
    without = extended("recformer-lamar", new_items(signal=False))
    assert with_signal.texts["Mood and Themes"][-2:].to_list() == [WORDS[twin] for twin in TWINS]
    assert without.texts["Mood and Themes"][-2:].to_list() == ["", ""]
    known = with_signal.weights["items"][:ITEMS]
    assert torch.equal(known, without.weights["items"][:ITEMS])
    assert not torch.allclose(with_signal.weights["items"][ITEMS:], without.weights["items"][ITEMS:], atol=1e-3)


def test_a_run_without_signals_says_that_it_reads_none(shop, capsys):
    extended("recformer-original", new_items())
    assert "recformer-original reads no signals: the column 'signal' is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("run", "model"), [("popularity", "popularity"), ("sasrec", "sasrec"), ("s3rec-original", "s3rec")]
)
def test_an_id_model_cannot(shop, run, model):
    with pytest.raises(LamarError, match=f"{run}: a {model} knows items by their ids alone and cannot take new ones"):
        extended(run, new_items())


def test_items_encoded_by_weights_that_are_gone(shop):
    trained = trained_run(load(), DATASET, "recformer-lamar")
    trained.weights["items"] = torch.nn.functional.normalize(torch.randn(ITEMS, 32), dim=-1)
    with pytest.raises(LamarError, match="the weights of its first stage, which encoded its items, are not kept"):
        with_new_items(trained, new_items(), ATTRIBUTES)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"item_id": ["new", IDS[3]]}, f"new item '{IDS[3]}' is in the catalogue already"),
        ({"name": ["word1", ""], "maker": ["", ""]}, "new item 'new-b' has no text in name, maker; fill one of them"),
    ],
)
def test_items_that_cannot_be_added(shop, changes, complaint):
    with pytest.raises(LamarError, match=complaint):
        extended("recformer-original", new_items(**changes))
