"""A disk that is full, as the kernel has it: no file of a process may grow beyond a limit."""

import resource
import signal

import numpy as np
import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.files import write_parquet

LIMIT = 4096  # bytes


@pytest.fixture
def nearly_full():
    """Files may have LIMIT bytes; more is an error of the call, not a signal that ends the process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_table_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path, nearly_full):
    table = pl.DataFrame({"score": np.random.default_rng(0).random(10 * LIMIT)})
    with pytest.raises(LamarError, match=r"ranks\.parquet: cannot be written \(File too large\)"):
        write_parquet(tmp_path / "ranks.parquet", table)
    assert not list(tmp_path.iterdir())


def test_a_table_that_fits_is_written(tmp_path, nearly_full):
    table = pl.DataFrame({"score": [0.5, 0.25]})
    write_parquet(tmp_path / "ranks.parquet", table)
    assert pl.read_parquet(tmp_path / "ranks.parquet").equals(table)
