import numpy as np
import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.evaluation import ranks as tables
from lamar.evaluation.ranks import SCHEMA, rank_scores

SCORES = np.array([[0.1, 0.9, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [-np.inf, 2.0, 1.0, 0.0]], dtype=np.float32)


def test_counts():
    greater, equal = rank_scores(SCORES, np.array([2, 0, 1]))
    assert greater.tolist() == [1, 0, 0]
    assert equal.tolist() == [1, 3, 0]  # the target is not its own tie
    assert greater.dtype == equal.dtype == np.int32


def test_nan_is_an_error_that_names_the_row():
    scores = SCORES.copy()
    scores[1, 3] = np.nan
    with pytest.raises(LamarError, match="user row 1 contain NaN"):
        rank_scores(scores, np.array([2, 0, 1]))


def test_written_tables_are_read_back_sorted(tmp_path):
    frame = pl.DataFrame([(7, 2, 1, 1, 1, 4), (6, 0, 1, 0, 3, 4)], schema=SCHEMA, orient="row")
    path = tmp_path / "ranks" / "run.parquet"
    tables.write(path, frame)
    assert tables.read(path).equals(frame.sort("user"))
    again = tmp_path / "again.parquet"
    tables.write(again, frame.reverse())
    assert again.read_bytes() == path.read_bytes()


GOOD = {"user": [0, 1], "item": [3, 4], "seed": [0, 0], "greater": [1, 2], "equal": [0, 0], "candidates": [9, 9]}
FAULTS = [
    ({"equal": [0, -1]}, "user 1 is ranked outside"),
    ({"greater": [9, 2]}, "user 0 is ranked outside"),
    ({"greater": [8, 2], "equal": [1, 0]}, "user 0 is ranked outside"),
    ({"user": [1, 1]}, "ranked twice"),
    ({"user": [None, 1]}, "null values"),
    ({name: [] for name in GOOD}, "no rows"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_a_faulty_table_is_an_error_that_names_the_file(tmp_path, change, message):
    path = tmp_path / "run.parquet"
    pl.DataFrame(GOOD | change, schema=SCHEMA).write_parquet(path)
    with pytest.raises(LamarError, match=message) as error:
        tables.read(path)
    assert str(path) in str(error.value)


def test_seeds_rank_the_same_number_of_users(tmp_path):
    path = tmp_path / "run.parquet"
    rows = [(0, 3, 0, 1, 0, 9), (1, 3, 0, 1, 0, 9), (0, 3, 1, 1, 0, 9)]  # user 1 is missing under seed 1
    pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(path)
    with pytest.raises(LamarError, match="different numbers of users"):
        tables.read(path)


def test_other_columns_other_files_and_no_file(tmp_path):
    path = tmp_path / "run.parquet"
    with pytest.raises(LamarError, match="no such file"):
        tables.read(path)
    path.write_text("not parquet")
    with pytest.raises(LamarError, match="not a parquet table"):
        tables.read(path)
    pl.DataFrame({"user": [1]}).write_parquet(path)
    with pytest.raises(LamarError, match="columns are user Int64, not user, item"):
        tables.read(path)
