from collections import Counter

import numpy as np

from lamar.training.examples import draw

TRAIN = [np.arange(10, 15), np.array([7]), np.arange(20, 23)]


def test_the_history_is_all_that_came_before_the_target():
    drawn = draw(TRAIN, 200, np.random.default_rng(0))
    assert len(drawn.histories) == len(drawn.targets) == 3 * 200
    for row, (history, target) in enumerate(zip(drawn.histories, drawn.targets, strict=True)):
        items = TRAIN[row // 200].tolist()
        assert history.tolist() == items[: items.index(target)]


def test_the_target_is_uniform_and_the_history_may_be_empty():
    draws = 3000
    counts = Counter(draw(TRAIN, draws, np.random.default_rng(0)).targets.tolist())
    assert counts[7] == draws
    assert sorted(counts) == [7, *range(10, 15), *range(20, 23)]
    for items in (TRAIN[0], TRAIN[2]):
        expected = draws / len(items)
        assert all(abs(counts[item] - expected) < 5 * expected**0.5 for item in items.tolist())


def test_draws_hang_on_the_generator():
    first, again, other = (draw(TRAIN, 50, np.random.default_rng(seed)).targets.tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other
