"""Pools: a user's last items, and among random candidates the one that the user chose next (paper, section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.training.examples import Split, Users

SCHEMA = {
    "split": pl.String,
    "user": pl.Int32,
    "history": pl.List(pl.Int32),
    "candidates": pl.List(pl.Int32),
    "place": pl.Int32,
}
"""split: train, validation or test; history: items, oldest first; place: where among the candidates the target is."""


@dataclass(frozen=True)
class Pool:
    """What one user is asked: items of the history, oldest first, and the candidates in the order they are shown."""

    history: Sequence[int]
    candidates: Sequence[int]


@dataclass(frozen=True)
class Pools:
    """The pools to train on, as (pool, place of the target), and those to rank: `targets` of a Split are places.

    ids: the users of the test pools, targets: their next items, both (pools,).
    """

    train: list[tuple[Pool, int]]
    validation: Split
    test: Split
    ids: np.ndarray
    targets: np.ndarray


def draw(users: Users, items: int, counts: dict[str, int], history: int, candidates: int, seed: int) -> pl.DataFrame:
    """A table of pools (SCHEMA): `counts` of train, validation and test, or as many as there are.

    Training pools end at positions of training sequences alone; the other candidates of every pool, training ones
    too, are items that its user never has, before or after: no test or validation target is ever trained on, neither
    as an answer nor as a wrong one. `items` is the size of the catalogue. Raises LamarError when a user's other items
    are fewer than the candidates asked for.
    """
    rng = np.random.default_rng(seed)
    everything = [set(long) | {last} for long, last in zip(users.test.histories, users.test.targets, strict=True)]
    asked = {
        "train": _positions(users.train, counts["train"], rng),
        "validation": _ends(users.validation, counts["validation"], rng),
        "test": _ends(users.test, counts["test"], rng),
    }
    rows = [
        (split, users.ids[user], before[-history:], *_shown(target, everything[user], items, candidates, rng))
        for split, drawn in asked.items()
        for user, before, target in drawn
    ]
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
    if items - len(seen) < candidates - 1:
        raise LamarError(f"params.yaml: candidates: {candidates}, but a user has but {items - len(seen)} items unseen")
    others: list[int] = []
    while len(others) < candidates - 1:
        drawn = int(rng.integers(items))
        if drawn not in seen and drawn not in others:
            others.append(drawn)
    place = int(rng.integers(candidates))
    return [*others[:place], target, *others[place:]], place


def read(path: str) -> Pools:
    """Read a table that `draw` made. Raises LamarError when it is not there."""
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run dvc repro pools") from None
    parts = {name: table.filter(pl.col("split") == name) for name in ("train", "validation", "test")}
    train, validation, test = (_split(part) for part in parts.values())
    targets = np.array([pool.candidates[place] for pool, place in zip(test.histories, test.targets, strict=True)])
    cases = list(zip(train.histories, train.targets.tolist(), strict=True))
    return Pools(cases, validation, test, parts["test"]["user"].to_numpy(), targets)


def _split(table: pl.DataFrame) -> Split:
    pools = [Pool(history, candidates) for history, candidates in table.select("history", "candidates").iter_rows()]
    return Split(pools, table["place"].to_numpy())
