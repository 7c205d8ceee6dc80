"""Similar texts, compared with a plain loop over all pairs."""

from __future__ import annotations

import random

import pytest

from lamar.signals.copies import copies, firsts
from lamar.signals.rules import words

TEXTS = ["Cuts wood and metal at home.", "cuts metal, and wood, at home", "Cuts wood at home", "Plays music", "", ""]


def jaccard(one: str, other: str) -> float:
    left, right = set(words(one)), set(words(other))
    return len(left & right) / len(left | right) if left | right else 1.0


def test_by_hand() -> None:
    assert copies(TEXTS, 0.6) == [([0, 1], [0, 1, 2]), ([2], [0, 1, 2]), ([3], [3]), ([4, 5], [4, 5])]
    assert copies(TEXTS, 0.7) == [([0, 1], [0, 1]), ([2], [2]), ([3], [3]), ([4, 5], [4, 5])]
    assert copies([], 0.8) == []


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.75, 0.8, 1.0])
def test_nothing_is_missed_and_nothing_is_too_much(similarity: float) -> None:
    chance = random.Random(similarity)
    vocabulary = [f"w{number}" for number in range(30)]
    texts = [" ".join(chance.choices(vocabulary[: chance.choice([6, 30])], k=chance.randint(1, 9))) for _ in range(300)]
    found = copies(texts, similarity)
    assert sorted(place for members, _ in found for place in members) == list(range(len(texts)))
    for members, near in found:
        for place in members:
            assert near == [p for p, text in enumerate(texts) if jaccard(texts[place], text) >= similarity]


def test_the_first_of_each_wording() -> None:
    assert firsts(TEXTS, 0.6) == [0, 3, 4]
    assert firsts(TEXTS, 0.7) == [0, 2, 3, 4]
    assert firsts([], 0.8) == []
