"""Near-duplicates by meaning, and repetition by words."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from lamar.analysis import diversity
from lamar.analysis.diversity import alike, compression, distinct, highly_similar, openings, skeletons, wording

THRESHOLDS = [0.6, 0.7, 0.75, 0.8, 0.9]


def unit_vectors(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 8)) + rng.normal(size=8)  # a common direction: many are similar
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 1000, 1 << 25])
def test_counts_are_those_of_the_whole_matrix_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(diversity, "BLOCK", block)
    vectors = unit_vectors(157)
    whole = cosine_similarity(vectors)
    np.fill_diagonal(whole, -1)
    assert alike(vectors, THRESHOLDS).tolist() == [(whole >= at).sum(axis=1).tolist() for at in THRESHOLDS]


def test_highly_similar_rows_by_hand():
    east, north = [1.0, 0.0], [0.0, 1.0]
    vectors = np.array([east] * 3 + [north], dtype=np.float32)  # three are alike, each like two of four
    counts = alike(vectors, [0.9])
    assert counts.tolist() == [[2, 2, 2, 0]]
    assert highly_similar(counts, 0.1) == [3]
    assert highly_similar(counts, 0.5) == [0]  # more than half, not half


def test_distinct_words_and_pairs():
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct(["A b", "a B"], 2) == 0.5
    assert distinct([], 1) == 0


def test_repetition_compresses():
    rng = np.random.default_rng(0)
    various = ["".join(rng.choice(list("abcdefghijklmnop "), 60)) for _ in range(100)]
    assert compression(["Used in various industries"] * 100) > 10 * compression(various)


def test_openings_are_the_first_words_whatever_their_case():
    counted = openings(["Used in various shops.", "used in Various labs", "Holds tools"], 3)
    assert counted["used in various"] == 2
    assert counted["holds tools"] == 1


def test_a_skeleton_is_what_stays_when_rare_words_are_gaps():
    texts = [f"Used in various {thing} {place} to hold {tool}" for thing, place, tool in ("abc", "def", "ghi", "jkl")]
    assert skeletons(texts, 0.5) == {"used in various … to hold …": 4}


def test_wording_counts_templates_over_all_and_words_over_a_sample():
    texts = [f"Used in various places by person{number}" for number in range(30)] + ["Something else entirely"]
    found = wording(texts, sample=10, seed=0)
    assert found["sample"] == 10
    assert found["openings"] == [{"text": "used in various", "signals": 30, "share": round(30 / 31, 6)}]
    assert found["skeletons"][0]["text"] == "used in various places by …"
    assert found == wording(texts, sample=10, seed=0)
    assert found["vocabulary"] != wording(texts, sample=31, seed=0)["vocabulary"]
