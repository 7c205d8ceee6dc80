from collections import Counter

import numpy as np

from lamar.training.examples import NO_ITEM, draw

TRAIN = [np.arange(10, 15), np.array([7]), np.arange(20, 23)]


def test_the_history_is_all_that_came_before_the_target():
    drawn = draw(TRAIN, 200, 1, np.random.default_rng(0))
    assert len(drawn.histories) == 3 * 200
    assert drawn.targets.shape == (3 * 200, 1)
    for row, (history, target) in enumerate(zip(drawn.histories, drawn.targets[:, 0], strict=True)):
        items = TRAIN[row // 200].tolist()
        assert history.tolist() == items[: items.index(target)]


def test_next_items_follow_the_history_to_the_end_of_the_training_sequence():
    drawn = draw(TRAIN, 50, 3, np.random.default_rng(0))
    assert drawn.targets.shape == (3 * 50, 3)
    for row, (history, targets) in enumerate(zip(drawn.histories, drawn.targets, strict=True)):
        after = TRAIN[row // 50].tolist()[len(history) :][:3]
        assert targets.tolist() == after + [NO_ITEM] * (3 - len(after))
    assert {(targets == NO_ITEM).sum() for targets in drawn.targets} == {0, 1, 2}


def test_the_target_is_uniform_and_the_history_may_be_empty():
    draws = 3000
    counts = Counter(draw(TRAIN, draws, 1, np.random.default_rng(0)).targets[:, 0].tolist())
    assert counts[7] == draws
    assert sorted(counts) == [7, *range(10, 15), *range(20, 23)]
    for items in (TRAIN[0], TRAIN[2]):
        expected = draws / len(items)
        assert all(abs(counts[item] - expected) < 5 * expected**0.5 for item in items.tolist())


def test_draws_hang_on_the_generator():
    first, again, other = (draw(TRAIN, 50, 2, np.random.default_rng(seed)).targets.tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other
