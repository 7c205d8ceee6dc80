"""What ranks do not tell of a ranker: whether the order of the candidates matters to it, and what it says freely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamar.evaluation.ranks import rank_scores
from lamar.params import Run
from lamar.rankers.pools import MISSING, Asked, Pool
from lamar.rankers.ranking import scores_of

DIGITS = 6


def sample(asked: Asked, count: int, seed: int) -> np.ndarray:
    """`count` random rows of the pools, ascending; all when there are fewer."""
    return np.sort(np.random.default_rng([seed, 3]).permutation(len(asked.ids))[:count])


def order_effect(model: Any, asked: Asked, scores: np.ndarray, run: Run, seed: int) -> dict[str, float]:
    """Rank the pools in a second random order and compare with `scores` (pools, candidates) of the first.

    rank_change: the mean of how far a target that is in its pool moves, in places; first_changed: the share of pools
    where another candidate comes first.
    """
    orders = np.random.default_rng([seed, 4]).permuted(np.tile(np.arange(scores.shape[1]), (len(scores), 1)), axis=1)
    shown = [
        Pool(pool.history, np.asarray(pool.candidates)[order].tolist())
        for pool, order in zip(asked.pools, orders, strict=True)
    ]
    again = np.empty_like(scores)
    np.put_along_axis(again, orders, scores_of(model, shown, run, "in another order"), axis=1)
    there = asked.places != MISSING
    moved = np.abs(_places(scores[there], asked.places[there]) - _places(again[there], asked.places[there]))
    return {
        "rank_change": round(float(moved.mean()), DIGITS) if there.any() else 0.0,
        "first_changed": round(float((scores.argmax(1) != again.argmax(1)).mean()), DIGITS),
    }


def _places(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The expected place of every target, ties in random order (pools,)."""
    greater, equal = rank_scores(scores, targets)
    return greater + equal / 2


def free_answers(written: Sequence[tuple[str, Sequence[str]]], places: np.ndarray) -> dict[str, int]:
    """What was answered freely: how many answers, how many that no candidate has, and how many that the target has.

    written: each pool's answer, and the candidates' answers; case and white space do not count. places: as in a pools
    table. None written: the ranker cannot write.
    """
    pairs = [(_plain(said), [_plain(answer) for answer in answers]) for said, answers in written]
    found = [place != MISSING and said == answers[place] for (said, answers), place in zip(pairs, places, strict=False)]
    return {
        "answers": len(pairs),
        "outside": sum(said not in answers for said, answers in pairs),
        "target": sum(map(bool, found)),
    }


def together(found: Sequence[dict[str, float]], combine: Callable[[list[float]], float]) -> dict[str, float]:
    """One dict of several with the same keys: each value is `combine` of theirs."""
    return {name: round(combine([one[name] for one in found]), DIGITS) for name in found[0]}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
