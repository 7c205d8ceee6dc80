from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from lamar.data.splits import leave_one_out, numbered, ordered, sampled, share

USERS = pl.Series("user_id", [f"user {n}" for n in range(4000)])


def coded(rows: list[tuple[str, str, int]]) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """user, item and timestamp as `ordered` takes them, and the ids of users and items by their numbers."""
    columns = dict(zip(("user", "item", "timestamp"), zip(*rows, strict=True), strict=True))
    names = {}
    for key in ("user", "item"):
        ids = pl.Series(list(dict.fromkeys(columns[key])))  # coded as they come
        codes = {name: code for code, name in enumerate(ids)}
        names[key], numbers = numbered(ids, np.ones(len(ids), dtype=bool))
        columns[key] = numbers[[codes[name] for name in columns[key]]]
    return pl.DataFrame(columns), names["user"], names["item"]


def in_order(rows: list[tuple[str, str, int]], ties: str, seed: int = 0) -> list[tuple[str, str, int]]:
    """The rows as `ordered` sorts them, ids and all."""
    interactions, users, items = coded(rows)
    table = ordered(interactions, users, items, ties, seed)
    names = (users.gather(table["user"]), items.gather(table["item"]), table["timestamp"])
    return list(zip(*names, strict=True))


def test_leave_one_out_by_hand() -> None:
    rows = [("b", "y", 2), ("a", "x", 9), ("b", "x", 1), ("a", "z", 8), ("b", "z", 3), ("a", "y", 7), ("b", "x", 4)]
    interactions, users, items = coded(rows)
    assert (users.to_list(), items.to_list()) == (["a", "b"], ["x", "y", "z"])
    interactions = ordered(interactions, users, items, "file", 0)
    assert interactions.rows() == [
        (0, 1, 7, 0),
        (0, 2, 8, 1),
        (0, 0, 9, 2),
        (1, 0, 1, 0),
        (1, 1, 2, 1),
        (1, 2, 3, 2),
        (1, 0, 4, 3),
    ]
    split = leave_one_out(interactions, users, confirm_share=0.5, seed=0)
    assert split.drop("fold").rows() == [(0, "a", 1, 2, 0), (1, "b", 2, 2, 0)]
    integers = [pl.Int32] * 4
    assert split.select("user", "train", "validation", "test").dtypes == integers
    assert interactions.select("user", "item", "position").dtypes == integers[:3]


def test_ties_in_file_order() -> None:
    rows = [("a", item, 5) for item in "zxyw"] + [("a", "first", 1)]
    assert [item for _, item, _ in in_order(rows, "file")] == ["first", "z", "x", "y", "w"]


def test_shuffled_ties_do_not_depend_on_the_file() -> None:
    rows = [("a", f"item {n}", n // 10) for n in range(40)]
    other = random.Random(0).sample(rows, len(rows))
    shuffled = in_order(rows, "shuffle")
    assert shuffled == in_order(other, "shuffle")
    assert [time for *_, time in shuffled] == sorted(time for *_, time in rows)
    assert shuffled != rows
    assert shuffled != in_order(rows, "shuffle", seed=1)


def test_ids_that_are_kept_are_numbered_in_their_order() -> None:
    ids, numbers = numbered(pl.Series(["z", "b", "a10", "a9"]), np.array([True, False, True, True]))
    assert ids.to_list() == ["a10", "a9", "z"]
    assert numbers.tolist() == [2, -1, 0, 1]
    rows = [(f"user {(n * 7) % 30}", f"item {(n * 11) % 40}", n % 3) for n in range(120)]
    assert in_order(rows, "file") == sorted(rows, key=lambda row: (row[0], row[2]))


def test_share_is_fixed_for_ever() -> None:
    assert share("fold", 0, pl.Series(["user 1"]))[0] == pytest.approx(0.245187683144)
    assert share("fold", 0, pl.Series([], dtype=pl.String)).to_list() == []


def test_folds_and_samples_are_independent() -> None:
    kept = USERS.filter(sampled(USERS, 0.2, seed=0))
    assert 740 <= len(kept) <= 860
    assert (share("fold", 0, kept) < 0.5).mean() == pytest.approx(0.5, abs=0.06)
    assert sampled(USERS, 1.0, seed=0).all()
    assert set(USERS.filter(sampled(USERS, 0.2, seed=1))) != set(kept)
