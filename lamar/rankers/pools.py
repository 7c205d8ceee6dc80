"""Pools: a user's last items, and candidates among which the item that the user chose next is to be found.

The candidates are random items and the target (paper, section 4.4), or the best items of a model of the whole
catalogue, among which the target may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.training.examples import Split, Users

MISSING = -1
SCHEMA = {
    "split": pl.String,
    "user": pl.Int32,
    "history": pl.List(pl.Int32),
    "candidates": pl.List(pl.Int32),
    "target": pl.Int32,
    "place": pl.Int32,
    "beyond": pl.Int32,
}
"""split: train, validation or test; history: items, oldest first; place: where among the candidates the target is, or
MISSING, and then beyond: where it is in the whole ranking that the candidates are the best of."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Pool:
    """What one user is asked: items of the history, oldest first, and the candidates in the order they are shown."""

    history: Sequence[int]
    candidates: Sequence[int]


@dataclass(frozen=True)
class Lessons:
    """What a ranker learns on: training pools as (pool, place of the target), and validation pools.

    ids: the users of the validation pools, targets: their next items, both (pools,); `targets` of a Split are places.
    """

    train: list[tuple[Pool, int]]
    validation: Split
    ids: np.ndarray
    targets: np.ndarray

    @property
    def test(self) -> Split:
        """What is ranked once it has learned; the test pools are for the stage `rank`."""
        return self.validation


@dataclass(frozen=True)
class Asked:
    """Test pools. ids: their users; targets: their next items; places, beyond: as in SCHEMA; all (pools,)."""

    pools: list[Pool]
    ids: np.ndarray
    targets: np.ndarray
    places: np.ndarray
    beyond: np.ndarray

    def only(self, rows: np.ndarray) -> Asked:
        """These pools alone."""
        arrays = (self.ids, self.targets, self.places, self.beyond)
        return Asked([self.pools[row] for row in rows], *(array[rows] for array in arrays))


def draw(users: Users, items: int, counts: dict[str, int], history: int, candidates: int, seed: int) -> pl.DataFrame:
    """A table of pools (SCHEMA) of random candidates: `counts` of train, validation and test, or as many as there are.

    Training pools end at positions of training sequences alone; the other candidates of every pool, training ones
    too, are items that its user never has, before or after: no test or validation target is ever trained on, neither
    as an answer nor as a wrong one. With the same seed, fewer candidates and fewer pools are part of more. `items` is
    the size of the catalogue. Raises LamarError when a user's other items are fewer than the candidates asked for.
    """
    everything = [set(long) | {last} for long, last in zip(users.test.histories, users.test.targets, strict=True)]
    asked = {
        "train": _positions(users.train, counts["train"], np.random.default_rng([seed, 0])),
        "validation": _ends(users.validation, counts["validation"], np.random.default_rng([seed, 1])),
        "test": _ends(users.test, counts["test"], np.random.default_rng([seed, 2])),
    }
    rows = []
    for number, (split, drawn) in enumerate(asked.items()):
        for user, before, target in drawn:
            rng = np.random.default_rng([seed, number, user, len(before)])
            shown, place = _shown(target, everything[user], items, candidates, rng)
            rows.append((split, users.ids[user], before[-history:], shown, target, place, MISSING))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def draw_best(
    users: Users, best: pl.DataFrame, counts: dict[str, int], history: int, candidates: int, seed: int
) -> pl.DataFrame:
    """A table of test pools (SCHEMA) for the users whom `draw` takes: the first of `best` in random order.

    best: columns of lamar.rankers.retrieve.SCHEMA, a row for each user of `users`. Raises LamarError when they are of
    other users, or fewer than the candidates.
    """
    if best["user"].to_list() != users.ids.tolist():
        raise LamarError("the best items were retrieved for other users; run dvc repro retrieve")
    if best["items"].list.len().min() < candidates:
        raise LamarError(f"params.yaml: {candidates} candidates, but the catalogue has but {best['items'][0].len()}")
    lists, places = best["items"].to_list(), best["place"].to_list()
    rows = []
    for user, before, target in _ends(users.test, counts["test"], np.random.default_rng([seed, 2])):
        shown = np.random.default_rng([seed, 2, user]).permutation(lists[user][:candidates]).tolist()
        place = shown.index(target) if target in shown else MISSING
        beyond = places[user] if place == MISSING else MISSING
        rows.append(("test", users.ids[user], before[-history:], shown, target, place, beyond))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _positions(train: list[np.ndarray], count: int, rng: np.random.Generator) -> list[tuple[int, list[int], int]]:
    """(user, history, target) of `count` random positions of all users that have an item before them."""
    places = [(user, place) for user, items in enumerate(train) for place in range(1, len(items))]
    chosen = np.sort(rng.permutation(len(places))[:count])
    return [
        (user, train[user][:place].tolist(), int(train[user][place])) for user, place in map(places.__getitem__, chosen)
    ]


def _ends(split: Split, count: int, rng: np.random.Generator) -> list[tuple[int, list[int], int]]:
    """(user, history, target) of `count` random users of a split."""
    chosen = np.sort(rng.permutation(len(split.targets))[:count])
    return [(int(user), split.histories[user].tolist(), int(split.targets[user])) for user in chosen]


def _shown(target: int, seen: set[int], items: int, candidates: int, rng: np.random.Generator) -> tuple[list[int], int]:
    """The target among random items that are not in `seen`, in random order, and its place."""
    unseen = np.delete(np.arange(items), list(seen))
    if len(unseen) < candidates - 1:
        raise LamarError(f"params.yaml: {candidates} candidates, but a user has but {len(unseen)} items unseen")
    others = rng.permutation(unseen)[: candidates - 1].tolist()
    place = int(rng.integers(candidates))
    return [*others[:place], target, *others[place:]], place


def read_lessons(path: str) -> Lessons:
    """The training and validation pools of a table. Raises LamarError when it is not there."""
    table = _read(path)
    train, validation = (table.filter(split=split) for split in ("train", "validation"))
    cases = list(zip(_pools(train), train["place"].to_list(), strict=True))
    asked = Split(_pools(validation), validation["place"].to_numpy(writable=True))  # or PyTorch warns
    return Lessons(cases, asked, validation["user"].to_numpy(), validation["target"].to_numpy())


def read_asked(path: str) -> Asked:
    """The test pools of a table. Raises LamarError when it is not there."""
    table = _read(path).filter(split="test")
    return Asked(_pools(table), *(table[name].to_numpy() for name in ("user", "target", "place", "beyond")))


def _read(path: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run dvc repro pools") from None


def _pools(table: pl.DataFrame) -> list[Pool]:
    return [Pool(history, candidates) for history, candidates in table.select("history", "candidates").iter_rows()]
