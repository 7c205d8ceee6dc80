"""Items become vectors of a real, tiny encoder."""

import numpy as np
import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.signals.similarity import encode
from lamar.text.vectors import dropped, item_vectors

ITEMS = pl.DataFrame(
    {"item": [0, 1, 2], "title": ["a saw", "a drill", "a saw"], "brand": ["", "cut", ""], "Use": ["cut", "", ""]}
)


def test_a_vector_is_of_all_texts_of_an_item_without_the_empty_ones(encoder):
    table = item_vectors(ITEMS, "text", 0.15, 0, encoder)
    assert table["item"].to_list() == [0, 1, 2]
    expected = encode(["a saw. cut", "a drill. cut", "a saw"], encoder)
    np.testing.assert_allclose(table["vector"].to_numpy(), expected, atol=1e-6)
    assert len(np.unique(expected.round(4), axis=0)) == 3


def test_dropped_words_change_the_vectors(encoder):
    whole, fewer = (item_vectors(ITEMS, kind, 0.6, 0, encoder)["vector"].to_numpy() for kind in ("text", "dropped"))
    assert whole.shape == fewer.shape
    assert not np.allclose(whole, fewer)


def test_words_are_dropped_at_their_share_and_keep_their_order():
    texts = [" ".join(f"w{number:03}" for number in range(200))] * 50
    fewer = dropped(texts, 0.15, seed=0)
    counts = [len(text.split()) for text in fewer]
    assert np.mean(counts) == pytest.approx(170, abs=2)
    assert all(text.split() == sorted(text.split()) for text in fewer)
    assert len(set(fewer)) == 50
    assert dropped(texts, 0.15, seed=0) == fewer != dropped(texts, 0.15, seed=1)
    assert dropped(texts, 0.0, seed=0) == texts


def test_no_encoder(tmp_path):
    with pytest.raises(LamarError, match="no such file; run dvc repro backbone"):
        item_vectors(ITEMS, "text", 0.15, 0, tmp_path / "none")
