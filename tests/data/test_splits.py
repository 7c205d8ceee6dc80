from __future__ import annotations

import random

import polars as pl
import pytest

from lamar.data.raw import INTERACTIONS
from lamar.data.splits import leave_one_out, numbered, ordered, sampled, share

USERS = pl.Series("user_id", [f"user {n}" for n in range(4000)])


def frame(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def in_order(rows: list[tuple[str, str, int]], ties: str, seed: int = 0) -> list[tuple[str, str, int]]:
    """The rows as `ordered` sorts them, ids and all."""
    interactions, users, items = numbered(frame(rows), frame(rows).select("item_id").unique())
    table = ordered(interactions, users, items, ties, seed)
    names = (users.gather(table["user"]), items["item_id"].gather(table["item"]), table["timestamp"])
    return list(zip(*names, strict=True))


def test_leave_one_out_by_hand() -> None:
    rows = [("b", "y", 2), ("a", "x", 9), ("b", "x", 1), ("a", "z", 8), ("b", "z", 3), ("a", "y", 7), ("b", "x", 4)]
    items = pl.DataFrame({"item_id": ["z", "x", "y"], "title": ["Z", "X", "Y"]})
    interactions, users, numbered_items = numbered(frame(rows), items)
    assert users.to_list() == ["a", "b"]
    interactions = ordered(interactions, users, numbered_items, "file", 0)
    assert numbered_items.rows() == [(0, "x", "X"), (1, "y", "Y"), (2, "z", "Z")]
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


@pytest.mark.parametrize("ties", ["file", "shuffle"])
def test_coded_ids_are_ordered_as_their_texts(ties: str) -> None:
    """Ids that come in another order than that of the alphabet, as they do from a file."""
    rows = [(f"user {(n * 7) % 30}", f"item {(n * 11) % 40}", n % 3) for n in range(120)]
    tables = []
    for coded in (frame(rows), frame(rows).cast(INTERACTIONS)):
        interactions, users, items = numbered(coded, frame(rows).select("item_id").unique())
        interactions = ordered(interactions, users, items, ties, 0)
        tables.append((interactions, users, items, leave_one_out(interactions, users, 0.5, 0)))
    for plain, coded in zip(*tables, strict=True):
        assert plain.equals(coded)
    assert in_order(rows, "file") == sorted(rows, key=lambda row: (row[0], row[2]))


def test_share_is_fixed_for_ever() -> None:
    assert share("fold", 0, pl.Series(["user 1"]))[0] == pytest.approx(0.245187683144)
    assert share("fold", 0, pl.Series([], dtype=pl.String)).to_list() == []


def test_folds_and_samples_are_independent() -> None:
    interactions = frame([(user, "x", 1) for user in USERS])
    kept = sampled(interactions, 0.2, seed=0)["user_id"]
    assert 740 <= len(kept) <= 860
    assert (share("fold", 0, kept) < 0.5).mean() == pytest.approx(0.5, abs=0.06)
    assert sampled(interactions, 1.0, seed=0).equals(interactions)
    assert set(sampled(interactions, 0.2, seed=1)["user_id"]) != set(kept)
