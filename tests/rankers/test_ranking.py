"""From scores to ranks, with and without the target in its pool; what is checked besides; the best items of a model."""

import numpy as np
import pytest
import torch

from lamar.errors import LamarError
from lamar.evaluation.metrics import per_user
from lamar.evaluation.ranks import rank_scores, read, write
from lamar.params import PoolPopularityRun, Prompts
from lamar.rankers import checks, retrieve
from lamar.rankers.pools import MISSING, Asked, Pool
from lamar.rankers.popularity import PoolPopularity
from lamar.rankers.ranking import ranks_table, scores_of
from lamar.training.examples import Split

RUN = PoolPopularityRun(
    model="pool-popularity",
    features="original",
    seeds=[0],
    pools_seed=0,
    prompts=Prompts(train=1, validation=1, test=1, checked=1),
    history=5,
)
COUNTS = np.array([5, 1, 4, 4, 0, 9, 2, 3], np.float32)


def asked(*pools: tuple[list[int], int, int]) -> Asked:
    """Pools of (candidates, target, place of a missing target in the whole ranking)."""
    places = np.array([items.index(target) if target in items else MISSING for items, target, _ in pools])
    ids, targets, beyond = np.arange(10, 10 + len(pools)), *np.array([pool[1:] for pool in pools]).T
    return Asked([Pool([0], items) for items, _, _ in pools], ids, targets, places, beyond)


PRESENT = asked(([1, 5, 2], 2, -1), ([4, 3, 2], 2, -1), ([0, 6, 7], 6, -1))


def test_popularity_ranks_candidates_by_their_counts():
    table = ranks_table(scores_of(PoolPopularity(COUNTS), PRESENT.pools, RUN), PRESENT, seed=7)
    assert table.rows() == [(10, 2, 7, 1, 0, 3), (11, 2, 7, 0, 1, 3), (12, 6, 7, 2, 0, 3)]


def test_counts_are_those_of_training_and_come_back(tmp_path):
    model = PoolPopularity.of([np.array([3, 1, 3]), np.array([0])], items=5)
    assert model.counts.tolist() == [1, 1, 0, 2, 0]
    model.save(tmp_path)
    assert PoolPopularity.load(tmp_path).counts.tolist() == model.counts.tolist()


def test_a_target_outside_its_pool_keeps_the_place_it_had(tmp_path):
    pools = asked(([1, 5, 2], 5, -1), ([1, 5, 2], 4, 6))
    table = ranks_table(scores_of(PoolPopularity(COUNTS), pools.pools, RUN), pools, seed=0, catalogue=8)
    assert table.rows() == [(10, 5, 0, 0, 0, 8), (11, 4, 0, 6, 0, 8)]
    write(tmp_path / "ranks.parquet", table)
    metrics = per_user(read(tmp_path / "ranks.parquet"), "expected")
    assert metrics["mrr"].tolist() == [1.0, pytest.approx(1 / 7)]
    assert metrics["auc"].tolist() == [1.0, pytest.approx(1 / 7)]


class FirstScores:
    """A ranker that likes what is shown first."""

    def scores(self, pools):
        yield np.arange(len(pools)), -torch.arange(3.0).expand(len(pools), 3)


def test_the_order_of_candidates_is_nothing_to_counts_and_everything_to_a_biased_ranker():
    many = asked(*[([1, 5, 2], 2, -1)] * 300)
    fair, biased = PoolPopularity(COUNTS), FirstScores()
    effects = [checks.order_effect(m, many, scores_of(m, many.pools, RUN), RUN, seed=0) for m in (fair, biased)]
    assert effects[0] == {"rank_change": 0.0, "first_changed": 0.0}
    assert effects[1]["rank_change"] == pytest.approx(1.0, abs=0.15)  # from the last of three places to a random one
    assert effects[1]["first_changed"] == pytest.approx(2 / 3, abs=0.1)


def test_missing_targets_do_not_move():
    missing = asked(([1, 5, 2], 4, 6), ([1, 5, 2], 7, 5))
    effect = checks.order_effect(FirstScores(), missing, np.zeros((2, 3), np.float32), RUN, seed=0)
    assert effect["rank_change"] == 0.0


def test_free_answers_are_counted_by_whether_they_are_in_the_pool():
    pool = ["Drum Kit", "Saw", "Lamp"]
    written = [("drum  kit\n", pool), ("Saw", pool), ("Chair", pool), ("Sa", pool), ("Lamp", pool)]
    found = checks.free_answers(written, np.array([0, 2, 1, 1, MISSING]))
    assert found == {"answers": 5, "outside": 2, "target": 1}
    assert checks.free_answers([], np.array([0, 1])) == {"answers": 0, "outside": 0, "target": 0}


def test_seeds_are_put_together():
    seeds = [{"answers": 3, "outside": 1}, {"answers": 3, "outside": 2}]
    assert checks.together(seeds, sum) == {"answers": 6, "outside": 3}
    assert checks.together([{"rank_change": 0.5}, {"rank_change": 1.0}], np.mean) == {"rank_change": 0.75}


def test_the_checked_pools_are_some_and_the_same_every_time():
    rows = checks.sample(PRESENT, 2, seed=0)
    assert rows.tolist() == checks.sample(PRESENT, 2, seed=0).tolist() == sorted(set(rows.tolist()))
    assert checks.sample(PRESENT, 9, seed=0).tolist() == [0, 1, 2]


class Fixed:
    """Scores of all items, a part of the users at a time."""

    def __init__(self, scores: np.ndarray) -> None:
        self.all = scores.astype(np.float32)

    def scores(self, histories):
        for rows in np.array_split(np.arange(len(histories))[::-1], 3):
            yield rows, torch.from_numpy(self.all[rows])


def test_the_best_items_are_those_that_the_whole_ranking_has_first():
    scores = np.random.default_rng(0).permuted(np.tile(np.arange(12), (7, 1)), axis=1)
    targets = np.arange(7)
    found = retrieve.best(Fixed(scores), np.arange(50, 57), Split([np.array([0])] * 7, targets), 4, RUN)
    assert dict(found.schema) == retrieve.SCHEMA
    assert found["user"].to_list() == list(range(50, 57))
    greater, _ = rank_scores(scores, targets)
    assert found["place"].to_list() == greater.tolist()
    for items, row in zip(found["items"].to_list(), scores, strict=True):
        assert row[items].tolist() == [11, 10, 9, 8]


def test_of_equal_scores_the_first_in_the_catalogue_is_better():
    found = retrieve.best(
        Fixed(np.zeros((3, 5))), np.arange(3), Split([np.array([0])] * 3, np.array([4, 0, 2])), 9, RUN
    )
    assert found["items"].to_list() == [[0, 1, 2, 3, 4]] * 3
    assert found["place"].to_list() == [4, 0, 2]


def test_scores_that_are_no_numbers_are_an_error():
    with pytest.raises(LamarError, match="pool-popularity: its scores contain NaN"):
        retrieve.best(Fixed(np.full((3, 5), np.nan)), np.arange(3), Split([np.array([0])] * 3, np.arange(3)), 2, RUN)


def test_a_popular_items_rank_falls_with_more_candidates():
    """Smaller pools are part of larger ones, so that no rank can get better."""
    from lamar.rankers import pools
    from lamar.training.examples import Users

    rng = np.random.default_rng(1)
    whole = [rng.choice(60, size=8, replace=False) for _ in range(30)]
    train = [items[:-2] for items in whole]
    splits = (
        Split(train, np.array([i[-2] for i in whole])),
        Split([i[:-1] for i in whole], np.array([i[-1] for i in whole])),
    )
    users, counts = Users(np.arange(30), train, *splits), {"train": 1, "validation": 1, "test": 30}
    greater = []
    for candidates in (5, 20, 50):
        table = pools.draw(users, 60, counts, 5, candidates, seed=0).filter(split="test")
        columns = (table[name].to_numpy() for name in ("user", "target", "place", "beyond"))
        drawn = Asked([Pool([], row) for row in table["candidates"].to_list()], *columns)
        model = PoolPopularity.of(train, 60)
        greater.append(ranks_table(scores_of(model, drawn.pools, RUN), drawn, 0)["greater"].to_numpy())
    assert (greater[0] <= greater[1]).all()
    assert (greater[1] <= greater[2]).all()
    assert greater[0].sum() < greater[1].sum() < greater[2].sum()
