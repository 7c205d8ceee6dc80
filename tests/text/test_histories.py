import polars as pl

from lamar.text.histories import histories
from lamar.training.examples import read_users

INTERACTIONS = pl.DataFrame(
    {
        "user": [1, 1, 0, 0, 1, 0, 0, 1, 0],
        "item": [5, 6, 3, 1, 5, 0, 4, 2, 1],
        "timestamp": [7, 7, 1, 4, 9, 3, 2, 8, 5],
        "position": [0, 1, 0, 3, 3, 2, 1, 2, 4],  # user 0: 3 4 0 1 1, user 1: 5 6 2 5
    }
)
SPLIT = pl.DataFrame(
    {
        "user": [1, 0],
        "user_id": ["ann", "bob"],
        "train": [2, 3],
        "validation": [2, 1],
        "test": [5, 1],
        "fold": ["confirm", "explore"],
    }
)


def test_leave_one_out_by_hand():
    table = histories(INTERACTIONS, SPLIT)
    assert table.columns == ["user", "train", "validation", "test", "fold"]
    assert table.rows() == [(0, [3, 4, 0], 1, 1, "explore"), (1, [5, 6], 2, 5, "confirm")]


def test_test_ranks_on_train_and_the_validation_item(tmp_path):
    path = tmp_path / "histories.parquet"
    histories(INTERACTIONS, SPLIT).write_parquet(path)
    users = read_users(str(path))
    assert users.ids.tolist() == [0, 1]
    assert [items.tolist() for items in users.train] == [[3, 4, 0], [5, 6]]
    assert [items.tolist() for items in users.validation.histories] == [[3, 4, 0], [5, 6]]
    assert users.validation.targets.tolist() == [1, 2]
    assert [items.tolist() for items in users.test.histories] == [[3, 4, 0, 1], [5, 6, 2]]
    assert users.test.targets.tolist() == [1, 5]
