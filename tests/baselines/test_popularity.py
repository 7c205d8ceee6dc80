import numpy as np
import pytest
import torch

from lamar.baselines.popularity import Popularity

TRAIN = [np.array([2, 0, 2]), np.array([2]), np.array([0, 4])]


def test_scores_are_counts_of_the_training_sequences():
    ((rows, scores),) = Popularity(TRAIN, items=6).scores([np.array([1]), np.array([], np.int64)])
    assert rows.tolist() == [0, 1]
    assert scores.tolist() == [[2, 0, 3, 0, 1, 0]] * 2
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("users", [1, 999, 1000, 2500])
def test_every_history_is_scored_once(users):
    parts = list(Popularity(TRAIN, items=6).scores([np.array([0])] * users))
    assert np.concatenate([rows for rows, _ in parts]).tolist() == list(range(users))
    assert all(scores.shape == (len(rows), 6) for rows, scores in parts)
