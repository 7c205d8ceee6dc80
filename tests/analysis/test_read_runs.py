"""Runs are read as values per user, and refused when they cannot be compared."""

import numpy as np
import pytest
from made_up import signature, write_run

from lamar.analysis.runs import read_runs
from lamar.errors import LamarError

ITEMS = np.array([4, 5, 6])


def test_values_are_of_each_user_and_seed(tmp_path):
    write_run(tmp_path, "m-lamar", signature("lamar"), np.array([[0, 1, 20], [3, 10, 0]]), ITEMS)
    (run,) = read_runs("tiny", [], tmp_path)
    assert run.values.shape == (3, 2, 3)
    assert run.seeds == 2
    assert run.items.tolist() == [4, 5, 6]
    assert run.values[:, :, 1].tolist() == [[1, 1], [1, 0], [0, 1]]  # recall@10
    assert run.values[0, :, 2] == pytest.approx([1, 1 / 4])  # mrr


def test_runs_come_in_the_order_of_params(tmp_path):
    for run in ("a", "b", "c"):
        write_run(tmp_path, run, signature("original"), np.zeros((1, 3)), ITEMS)
    assert [run.run for run in read_runs("tiny", ["c", "a"], tmp_path)] == ["c", "a", "b"]


def test_nothing_was_evaluated(tmp_path):
    with pytest.raises(LamarError, match=r"metrics/tiny/full: no evaluated runs; run dvc repro evaluate"):
        read_runs("tiny", [], tmp_path)


def test_ranks_are_missing(tmp_path):
    write_run(tmp_path, "a", signature("original"), np.zeros((1, 3)), ITEMS)
    (tmp_path / "ranks/tiny/full/a.parquet").unlink()
    with pytest.raises(LamarError, match=r"a\.parquet: no such file"):
        read_runs("tiny", [], tmp_path)


def test_runs_with_other_targets_are_not_compared(tmp_path):
    write_run(tmp_path, "a", signature("original"), np.zeros((1, 3)), ITEMS)
    write_run(tmp_path, "b", signature("lamar"), np.zeros((1, 3)), ITEMS + 1)
    with pytest.raises(LamarError, match=r"ranks/tiny/full: a and b rank different users or targets"):
        read_runs("tiny", [], tmp_path)
