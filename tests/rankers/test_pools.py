"""Pools: what is shown, what is never shown, and that they come back from disk."""

import numpy as np
import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.files import write_parquet
from lamar.rankers import pools
from lamar.rankers.retrieve import SCHEMA
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
    for split, user, history, candidates, target, place, _ in table.iter_rows():
        assert target == candidates[place]
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


def test_smaller_pools_are_part_of_larger_ones(table):
    few = pools.draw(users(), ITEMS, {"train": 30, "validation": 5, "test": 7}, history=5, candidates=11, seed=0)
    whole = {
        (split, user, target): set(candidates)
        for split, user, target, candidates in table.select("split", "user", "target", "candidates").iter_rows()
    }
    for split, user, target, candidates in few.select("split", "user", "target", "candidates").iter_rows():
        assert set(candidates) < whole[split, user, target]


def best_items() -> pl.DataFrame:
    """A model that ranks every user's items by number: of 25 targets some are among the best 20."""
    everyone = users()
    ranked = [list(range(20))] * len(everyone.ids)
    columns = {"user": everyone.ids, "items": ranked, "place": everyone.test.targets}
    return pl.DataFrame(columns).cast(SCHEMA)


def test_the_best_items_of_a_model_are_candidates_with_or_without_the_target(table):
    drawn = pools.draw_best(users(), best_items(), COUNTS, history=5, candidates=20, seed=0)
    assert drawn["split"].unique().to_list() == ["test"]
    assert drawn["user"].to_list() == table.filter(split="test")["user"].to_list()
    assert drawn["history"].to_list() == table.filter(split="test")["history"].to_list()
    for candidates, target, place, beyond in drawn.select("candidates", "target", "place", "beyond").iter_rows():
        assert sorted(candidates) == list(range(20))
        assert (place, beyond) == ((candidates.index(target), -1) if target < 20 else (-1, target))
    assert 3 < (drawn["place"] == -1).sum() < 20
    assert drawn["candidates"].n_unique() > 10, "the order must tell nothing of the model's"


def test_best_items_of_other_users_or_too_few(table):
    with pytest.raises(LamarError, match="retrieved for other users"):
        pools.draw_best(users(24), best_items(), COUNTS, history=5, candidates=20, seed=0)
    with pytest.raises(LamarError, match="21 candidates, but the catalogue has but 20"):
        pools.draw_best(users(), best_items(), COUNTS, history=5, candidates=21, seed=0)


def test_too_many_candidates_are_an_error():
    with pytest.raises(LamarError, match=r"60 candidates, but a user has but \d+ items unseen"):
        pools.draw(users(), ITEMS, COUNTS, history=5, candidates=60, seed=0)


def test_pools_come_back_from_disk(table, tmp_path):
    write_parquet(tmp_path / "pools.parquet", table)
    path = str(tmp_path / "pools.parquet")
    lessons, asked = pools.read_lessons(path), pools.read_asked(path)
    assert (len(lessons.train), len(lessons.validation.targets), len(asked.pools)) == (80, 12, 20)
    rows = table.filter(split="test")
    assert asked.ids.tolist() == rows["user"].to_list()
    assert asked.targets.tolist() == [c[p] for c, p in rows.select("candidates", "place").iter_rows()]
    assert [pool.history for pool in asked.pools] == rows["history"].to_list()
    assert asked.only(np.array([3, 5])).ids.tolist() == rows["user"].to_list()[3:6:2]
    pool, place = lessons.train[7]
    assert pool.candidates[place] == table.filter(split="train")["target"][7]


def test_no_pools():
    with pytest.raises(LamarError, match="no such file; run dvc repro pools"):
        pools.read_asked("nowhere.parquet")
