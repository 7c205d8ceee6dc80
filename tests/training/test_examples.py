from collections import Counter

import numpy as np
import pytest

from lamar.training.examples import NO_TARGET, draw

TRAIN = [np.arange(10, 15), np.array([7]), np.arange(20, 23)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_the_history_is_all_that_came_before_the_targets(ahead):
    drawn = draw(TRAIN, 200, ahead, np.random.default_rng(0))
    assert drawn.targets.shape == (3 * 200, ahead)
    for row, (history, targets) in enumerate(zip(drawn.histories, drawn.targets.tolist(), strict=True)):
        items = TRAIN[row // 200].tolist()
        following = items[len(history) :][:ahead]
        assert history.tolist() == items[: len(history)]
        assert targets == following + [NO_TARGET] * (ahead - len(following))
        assert following


def test_the_position_is_uniform_and_the_history_may_be_empty():
    draws = 3000
    counts = Counter(draw(TRAIN, draws, 2, np.random.default_rng(0)).targets[:, 0].tolist())
    assert counts[7] == draws
    assert sorted(counts) == [7, *range(10, 15), *range(20, 23)]
    for items in (TRAIN[0], TRAIN[2]):
        expected = draws / len(items)
        assert all(abs(counts[item] - expected) < 5 * expected**0.5 for item in items.tolist())


def test_draws_hang_on_the_generator():
    first, again, other = (draw(TRAIN, 50, 1, np.random.default_rng(seed)).targets.tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other
