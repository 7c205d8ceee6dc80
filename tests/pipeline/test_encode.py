"""The stage `encode`: vectors for the runs that read them, and what reads them finds them."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from lamar.files import read_json
from lamar.training.examples import read_sequences

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def encode(tmp_path, monkeypatch, encoder):
    """Runs the stage for a run in an empty folder with three items."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "stages"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    (tmp_path / "models/backbones").mkdir(parents=True)
    (tmp_path / "models/backbones/minilm").symlink_to(encoder)

    def run(name: str) -> list[str]:
        from encode import main

        sequences = tmp_path / "data/sequences/ml-100k" / name
        sequences.mkdir(parents=True)
        items = pl.DataFrame({"item": [0, 1, 2], "title": ["a saw", "a drill", "cut x"]})
        items.write_parquet(sequences / "items.parquet")
        histories = {"user": [7], "train": [[0, 1]], "validation": [2], "test": [0]}
        pl.DataFrame(histories).write_parquet(sequences / "histories.parquet")
        done = CliRunner().invoke(main, ["ml-100k", name])
        assert done.exit_code == 0, done.output
        written = tmp_path / "data/encoded/ml-100k" / name
        assert read_json(written / "kinds.json") == [path.stem for path in sorted(written.glob("*.parquet"))[::-1]]
        return sorted(path.name for path in written.glob("*.parquet"))

    yield run
    sys.modules.pop("encode", None)


@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("unisrec-published-lamar", ["dropped.parquet", "text.parquet"]),
        ("unisrec-lamar", ["text.parquet"]),
        ("zesrec-original", ["text.parquet"]),
        ("sasrec", []),
        ("popularity", []),
    ],
)
def test_a_run_has_the_vectors_that_its_model_reads(encode, run, files):
    assert encode(run) == files
    vectors = read_sequences("ml-100k", run).vectors
    assert [f"{kind}.parquet" for kind in vectors] == files
    for table in vectors.values():
        assert (table.shape, table.dtype) == ((3, 16), np.float32)
        np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, atol=1e-5)
