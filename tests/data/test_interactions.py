"""Interactions that lie on disk and are sorted in parts give the tables of those that fit into memory."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from catalogues import Prepared, make_dataset

from lamar.data import interactions
from lamar.data.interactions import ROW, Interactions, Spool
from lamar.data.raw import INTERACTIONS
from lamar.errors import LamarError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything lies on disk, and a few rows are in memory at a time."""
    for name, value in (("IN_MEMORY", 1), ("READ_ROWS", 7), ("SORT_ROWS", 20)):
        monkeypatch.setattr(interactions, name, value)


@pytest.fixture
def reviews() -> list[dict[str, Any]]:
    """Of 40 users, one of whom has more than a part; many times are equal."""
    chance = random.Random(0)
    users = [*(f"A{chance.randrange(40) * 7919 % 1000}" for _ in range(300)), *["A50x"] * 45]
    chance.shuffle(users)
    times = [(user, chance.randrange(20), chance.randrange(4)) for user in users]
    return [{"reviewerID": user, "asin": f"B{item}", "unixReviewTime": time} for user, item, time in times]


METADATA = [{"asin": f"B{n}", "title": f"Thing {n}" if n % 7 else "", "brand": "", "category": []} for n in range(19)]


@pytest.mark.parametrize("changes", [{}, {"ties": "shuffle"}, {"sample_users": 0.5}])
def test_parts_give_the_same_tables(
    changes: dict[str, Any],
    reviews: list[dict[str, Any]],
    amazon_folder: Callable[..., Path],
    prepared: Callable[..., Prepared],
    request: pytest.FixtureRequest,
) -> None:
    folder = amazon_folder(reviews, METADATA)
    whole = prepared(folder, make_dataset(**changes))
    request.getfixturevalue("small")
    parts = prepared(folder, make_dataset(**changes))
    for name in ("items", "interactions", "split"):
        assert getattr(parts, name).equals(getattr(whole, name))
    assert parts.statistics == whole.statistics
    dropped = whole.statistics["dropped"]
    assert dropped["interactions_item_without_title"] > 0
    assert dropped["interactions_unknown_item"] == sum(review["asin"] == "B19" for review in reviews)
    sizes = parts.interactions.group_by("user").len()["len"]
    assert sizes.max() > 20 or changes.get("sample_users")


def test_nothing_stays_on_disk(
    small: None, reviews: list[dict[str, Any]], amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared]
) -> None:
    folder = amazon_folder(reviews, METADATA)
    prepared(folder, make_dataset())
    before = set(folder.iterdir())
    metadata = folder / "meta_Some_Things.json.gz"
    metadata.write_bytes(metadata.read_bytes()[:-20])
    with pytest.raises(LamarError, match=r"meta_Some_Things\.json\.gz: broken or cut short"):
        prepared(folder, make_dataset())
    assert set(folder.iterdir()) == before


def test_rows_by_hand(small: None, tmp_path: Path) -> None:
    rows = [("b", "y", 3), ("a", "x", 1), ("b", "x", 2), ("a", "z", 5)]
    frames = [pl.DataFrame(part, schema=INTERACTIONS, orient="row") for part in (rows[:3], rows[3:])]
    found = Interactions(frames, tmp_path)
    assert sorted(found.present("item")) == ["x", "y", "z"]
    dropped = found.keep_items(pl.DataFrame({"item_id": ["x", "z", "w"]}), pl.Series(["y"]))
    assert dropped == {"interactions_item_without_title": 1, "interactions_unknown_item": 0}
    assert dict(zip(found.ids["user"], found.counts("user"), strict=True)) == {"b": 1, "a": 2}
    numbers = {"user": np.array([1, 0], np.int32), "item": np.array([-1, 0, 1], np.int32)}  # b, a; y, x, z
    assert [part.rows() for part in found.by_user(numbers)] == [[(0, 0, 1), (1, 0, 2), (0, 1, 5)]]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(small: None, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(LamarError, match=r"test_a_full_disk0: cannot be written \(File too large\)"):
            spool.add(np.zeros(50, ROW))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
