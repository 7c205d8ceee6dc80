"""Items ranked by the values they share with what a user would like; ties in expectation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from taxonomist import RANKS, TAXONOMY, VALUES

from lamar.evaluation.metrics import per_user, summarise
from lamar.taxonomy import rank

ITEMS = pl.DataFrame(VALUES, schema=list(TAXONOMY.features), orient="row")
LIKED = pl.DataFrame(
    [("Horror", "Dark", "1990s", "Adults", None), ("Comedy", "Light", None, None, None), (None,) * 5],
    schema=dict.fromkeys(TAXONOMY.features, pl.String),
    orient="row",
)
TARGETS = np.array([3, 4, 0])


def codes(table: pl.DataFrame) -> np.ndarray:
    return rank.codes(table, TAXONOMY)


def ranked() -> pl.DataFrame:
    return rank.ranked(codes(LIKED), codes(ITEMS), np.array([7, 8, 9]), TARGETS, seed=0)


def test_codes_are_places_in_the_lists():
    assert codes(ITEMS).tolist()[:2] == [[2, 0, 0, 1, 0], [1, 1, 1, rank.NONE, 1]]
    assert codes(ITEMS)[-1].tolist() == [rank.NONE] * 5


def test_overlaps_counted_by_hand():
    assert rank.overlaps(codes(LIKED), codes(ITEMS)).tolist() == [
        [3, 0, 3, 4, 1, 0],
        [0, 2, 0, 0, 2, 0],
        [0, 0, 0, 0, 0, 0],  # nothing known of the user: not even like the item of which nothing is known
    ]


def test_the_ranks_table():
    table = ranked()
    assert table.rows() == [
        (user, target, 0, *placed, 6) for user, target, placed in zip([7, 8, 9], TARGETS, RANKS, strict=True)
    ]


def test_ties_are_taken_in_expectation():
    gains = 1 / np.log2(np.arange(6) + 2)
    found = per_user(ranked(), "expected")
    assert found["ndcg@10"] == pytest.approx([1, gains[:2].mean(), gains.mean()])
    assert found["auc"] == pytest.approx([1, 0.9, 0.5])
    assert summarise(ranked(), "expected")["ndcg@10"] == pytest.approx(0.788748, abs=1e-6)


def test_many_users_are_ranked_in_blocks_as_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    liked, items = rng.integers(-1, 4, (40, 5)), rng.integers(-1, 4, (30, 5))
    users, targets = np.arange(40), rng.integers(30, size=40)
    whole = rank.ranked(liked, items, users, targets, seed=0)
    monkeypatch.setattr(rank, "BLOCK", 100)
    assert rank.ranked(liked, items, users, targets, seed=0).equals(whole)
    first = [sum(a == b != rank.NONE for a, b in zip(liked[0], item, strict=True)) for item in items]
    own = first[targets[0]]
    assert whole.row(0)[3:5] == (sum(score > own for score in first), first.count(own) - 1)
