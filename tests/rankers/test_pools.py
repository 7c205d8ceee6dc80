"""Pools: what is shown, what is never shown, and that they come back from disk."""

import numpy as np
import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.files import write_parquet
from lamar.rankers import pools
from lamar.training.examples import Split, Users

ITEMS = 60
COUNTS = {"train": 80, "validation": 12, "test": 20}


def users(number: int = 25) -> Users:
    rng = np.random.default_rng(1)
    whole = [rng.choice(ITEMS, size=rng.integers(4, 12), replace=False) for _ in range(number)]
    train = [items[:-2] for items in whole]
    validation = Split(train, np.array([items[-2] for items in whole]))
    test = Split([items[:-1] for items in whole], np.array([items[-1] for items in whole]))
    return Users(np.arange(100, 100 + number), train, validation, test)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return pools.draw(users(), ITEMS, COUNTS, history=5, candidates=21, seed=0)


def test_as_many_pools_as_asked_for(table):
    assert dict(table["split"].value_counts().iter_rows()) == COUNTS
    assert table["candidates"].list.len().unique().to_list() == [21]
    assert table["candidates"].list.n_unique().unique().to_list() == [21]


def test_no_test_or_validation_target_is_trained_on(table):
    known = users()
    held_out = {
        user: {last, before}
        for user, last, before in zip(known.ids, known.test.targets, known.validation.targets, strict=True)
    }
    for user, history, candidates in table.filter(split="train").select("user", "history", "candidates").iter_rows():
        assert not held_out[user] & {*history, *candidates}
    for user, candidates, history in (
        table.filter(split="validation").select("user", "candidates", "history").iter_rows()
    ):
        assert known.test.targets[user - 100] not in {*candidates, *history}


def test_the_other_candidates_are_items_the_user_never_has(table):
    known = users()
    for user, candidates, place in table.select("user", "candidates", "place").iter_rows():
        own = {*known.test.histories[user - 100], known.test.targets[user - 100]}
        assert own & set(candidates) == {candidates[place]}


def test_histories_are_the_items_just_before_the_target(table):
    known = users()
    for split, user, history, candidates, place in table.iter_rows():
        whole = [*known.test.histories[user - 100], known.test.targets[user - 100]]
        where = whole.index(candidates[place])
        assert history == whole[max(0, where - 5) : where]
        assert {"train": where < len(whole) - 2, "validation": where == len(whole) - 2}.get(
            split, where == len(whole) - 1
        )


def test_the_target_stands_anywhere(table):
    assert table["place"].n_unique() > 15


def test_a_seed_gives_the_same_pools(table):
    assert table.equals(pools.draw(users(), ITEMS, COUNTS, history=5, candidates=21, seed=0))
    assert not table.equals(pools.draw(users(), ITEMS, COUNTS, history=5, candidates=21, seed=1))


def test_too_many_candidates_are_an_error():
    with pytest.raises(LamarError, match=r"candidates: 60, but a user has but \d+ items unseen"):
        pools.draw(users(), ITEMS, COUNTS, history=5, candidates=60, seed=0)


def test_pools_come_back_from_disk(table, tmp_path):
    write_parquet(tmp_path / "pools.parquet", table)
    read = pools.read(str(tmp_path / "pools.parquet"))
    assert (len(read.train), len(read.validation.targets), len(read.test.targets)) == (80, 12, 20)
    rows = table.filter(split="test")
    assert read.ids.tolist() == rows["user"].to_list()
    assert read.targets.tolist() == [c[p] for c, p in rows.select("candidates", "place").iter_rows()]
    assert [pool.history for pool in read.test.histories] == rows["history"].to_list()


def test_no_pools():
    with pytest.raises(LamarError, match="no such file; run dvc repro pools"):
        pools.read("nowhere.parquet")
