import numpy as np
import pytest

from lamar.training.batches import by_length, by_tokens, shuffled, shuffled_by_length


def lengths_of(rows: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 200, size=rows)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 1000])
def test_every_row_is_in_one_batch(rows):
    lengths = lengths_of(rows)
    for batches in (list(by_length(lengths, 8)), shuffled_by_length(lengths, 8, np.random.default_rng(0))):
        assert sorted(row for batch in batches for row in batch) == list(range(rows))
        assert all(1 <= len(batch) <= 8 for batch in batches)
        assert len(batches) == -(-rows // 8)


def test_by_length_puts_the_longest_first():
    batches = list(by_length(np.array([3, 9, 1, 9, 5]), 2))
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 0], [2]]


def padding(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Padding as a share of the real tokens."""
    return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches) / lengths.sum()


def test_batches_hold_rows_of_similar_length():
    lengths = lengths_of(4000)
    order = np.random.default_rng(0).permutation(4000)
    unsorted = [order[start : start + 32] for start in range(0, 4000, 32)]
    assert padding(lengths, unsorted) > 0.8
    assert padding(lengths, shuffled_by_length(lengths, 32, np.random.default_rng(0))) < 0.1


def test_batches_are_random_and_seeded():
    lengths = lengths_of(640)
    drawn = [shuffled_by_length(lengths, 32, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    first, again, other = [np.concatenate(batches).tolist() for batches in drawn]
    assert first == again
    assert first != other
    means = [lengths[batch].mean() for batch in drawn[0]]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_by_tokens_fills_every_batch_but_the_last():
    lengths = np.random.default_rng(0).integers(1, 50, 200)
    batches = list(by_tokens(lengths, 300))
    assert sorted(np.concatenate(batches)) == list(range(200))
    sums = [lengths[batch].sum() for batch in batches]
    assert all(250 < tokens <= 350 for tokens in sums[:-1])
    assert lengths[batches[0][0]] == lengths.max()
    assert [batch.tolist() for batch in by_tokens(np.array([5, 900, 1]), 300)] == [[1], [0, 2]]


def test_shuffled_has_every_row_once_and_whole_batches_first():
    batches = shuffled(10, 4, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(range(10))
