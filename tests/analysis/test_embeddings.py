"""Signals and items become unit vectors of a real, tiny encoder."""

import numpy as np
import polars as pl
import pytest

from lamar.analysis.embeddings import embeddings
from lamar.analysis.groups import novelty

SIGNALS = pl.DataFrame({"item_id": ["b", "a", "c"], "signal": ["a saw", "a drill", "cut"], "kept": [True, True, False]})
ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["a saw", "a saw", "x"]})


def test_one_row_of_unit_vectors_for_each_kept_signal_in_the_order_of_the_items(encoder):
    vectors = embeddings(SIGNALS, ITEMS, ["title"], encoder, "mean")
    assert vectors["item_id"].to_list() == ["a", "b"]
    signals, items = (vectors[name].to_numpy() for name in ("signal", "item"))
    assert np.linalg.norm(signals, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.allclose(items[0], items[1])  # both are "a saw"
    drill, saw = novelty(vectors)
    assert saw == pytest.approx(0, abs=1e-5)  # the signal of b repeats its title
    assert drill > 0.001


def test_an_encoder_is_pooled_as_it_was_trained(encoder):
    from transformers import AutoModel, PreTrainedTokenizerFast

    vectors = embeddings(SIGNALS, ITEMS, ["title"], encoder, "cls")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(encoder / "tokenizer.json"))
    first = AutoModel.from_pretrained(encoder)(**tokenizer("a drill", return_tensors="pt")).last_hidden_state[0, 0]
    expected = (first / first.norm()).detach().numpy()
    assert vectors["signal"].to_numpy()[0] == pytest.approx(expected, abs=1e-5)
    mean = embeddings(SIGNALS, ITEMS, ["title"], encoder, "mean")["signal"].to_numpy()[0]
    assert np.abs(mean - expected).max() > 0.01
