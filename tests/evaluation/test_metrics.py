"""Metrics against arithmetic written out by hand."""

from itertools import permutations
from math import log2

import numpy as np
import polars as pl
import pytest

from lamar.evaluation.metrics import METRICS, per_user, summarise
from lamar.evaluation.ranks import SCHEMA


def table(*rows: tuple[int, int, int]) -> pl.DataFrame:
    """Rows (seed, greater, equal) of 101 candidates, one user each per seed."""
    columns = [(user, 0, seed, greater, equal, 101) for user, (seed, greater, equal) in enumerate(rows)]
    return pl.DataFrame(columns, schema=SCHEMA, orient="row")


def test_no_ties():
    values = per_user(table((0, 0, 0), (0, 2, 0), (0, 9, 0), (0, 10, 0), (0, 100, 0)), "expected")
    expected = {
        "ndcg@10": [1, 1 / 2, 1 / log2(11), 0, 0],  # rank 2: 1 / log2(2 + 2)
        "recall@10": [1, 1, 1, 0, 0],
        "ndcg@50": [1, 1 / 2, 1 / log2(11), 1 / log2(12), 0],
        "recall@50": [1, 1, 1, 1, 0],
        "mrr": [1, 1 / 3, 1 / 10, 1 / 11, 1 / 101],
        "auc": [1, 0.98, 0.91, 0.90, 0],  # 1 - rank / 100
    }
    assert list(values) == list(expected) == list(METRICS)
    for name in expected:
        np.testing.assert_allclose(values[name], expected[name], atol=1e-12, err_msg=name)


def test_a_tie_across_the_cutoff():
    """One better, ten equal: ranks 1..11 with probability 1/11 each, of which 1..9 are among the first ten."""
    values = per_user(table((0, 1, 10)), "expected")
    assert values["recall@10"][0] == pytest.approx(9 / 11)
    assert values["ndcg@10"][0] == pytest.approx(sum(1 / log2(rank + 2) for rank in range(1, 10)) / 11)
    assert values["mrr"][0] == pytest.approx(sum(1 / (rank + 1) for rank in range(1, 12)) / 11)
    assert values["auc"][0] == pytest.approx(1 - (1 + 10 / 2) / 100)


def test_all_scores_equal_is_chance():
    values = per_user(table((0, 0, 100)), "expected")
    assert values["recall@10"][0] == pytest.approx(10 / 101)
    assert values["auc"][0] == pytest.approx(0.5)


def test_expectation_is_the_mean_over_all_orders_of_the_ties():
    scores, target = [3.0, 1.0, 2.0, 1.0, 1.0, 0.0], 3  # two better, two others equal, one worse
    ranks = []
    for order in permutations(range(6)):
        ranked = sorted(order, key=lambda item: -scores[item])  # a stable sort: ties stay in the random order
        ranks.append(ranked.index(target))
    row = pl.DataFrame([(0, target, 0, 2, 2, 6)], schema=SCHEMA, orient="row")
    values = per_user(row, "expected")
    assert values["ndcg@10"][0] == pytest.approx(np.mean([1 / log2(rank + 2) for rank in ranks]))
    assert values["mrr"][0] == pytest.approx(np.mean([1 / (rank + 1) for rank in ranks]))
    assert values["auc"][0] == pytest.approx(np.mean([1 - rank / 5 for rank in ranks]))


def test_published_ties_favour_the_target_and_auc_divides_by_all_candidates():
    values = per_user(table((0, 1, 10)), "published")
    assert values["ndcg@10"][0] == pytest.approx(1 / log2(3))
    assert values["recall@10"][0] == 1
    assert values["mrr"][0] == pytest.approx(1 / 2)
    assert values["auc"][0] == pytest.approx(1 - 1 / 101)


def test_mean_and_sample_deviation_over_seeds():
    """Recall@10 of seed 0 is (1 + 0) / 2, of seed 1 (1 + 1) / 2: mean 0.75, deviation sqrt(2 * 0.25² / 1)."""
    summary = summarise(table((0, 0, 0), (0, 50, 0), (1, 3, 0), (1, 9, 0)), "expected")
    assert list(summary) == [*METRICS, *(f"{name}_std" for name in METRICS)]
    assert summary["recall@10"] == 0.75
    assert summary["recall@10_std"] == round((2 * 0.25**2) ** 0.5, 6)
    assert summary["mrr"] == round(((1 + 1 / 51) / 2 + (1 / 4 + 1 / 10) / 2) / 2, 6)


def test_one_seed_has_no_deviation():
    summary = summarise(table((7, 0, 0), (7, 50, 3)), "expected")
    assert {summary[f"{name}_std"] for name in METRICS} == {0.0}
