"""Signals and items become unit vectors of a real, tiny encoder."""

import numpy as np
import polars as pl
import pytest

from lamar.analysis.embeddings import embed, embeddings, novelty

SIGNALS = pl.DataFrame({"item_id": ["b", "a", "c"], "signal": ["a saw", "a drill", "cut"], "kept": [True, True, False]})
ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["a saw", "a saw", "x"], "brand": ["", "", ""]})


def test_vectors_are_of_length_one_and_alike_for_like_texts(encoder):
    vectors = embed(encoder, ["a saw", "a drill", "a saw"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.allclose(vectors[0], vectors[2], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)


def test_one_row_for_each_kept_signal_in_the_order_of_the_items(encoder):
    vectors = embeddings(SIGNALS, ITEMS, ["title"], encoder)
    assert vectors["item_id"].to_list() == ["a", "b"]
    drill, saw = novelty(vectors)
    assert saw == pytest.approx(0, abs=1e-5)  # the signal of b repeats its title
    assert drill > 0.001
