import json
from pathlib import Path

import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.evaluation.ranks import SCHEMA
from lamar.evaluation.signature import inputs, signature
from lamar.files import sha256_of
from lamar.params import Features

FEATURES = Features(signals=["writer"], control="shuffled")
FILES = (
    "data/sequences/tiny/model-placebo/items.parquet",
    "data/sequences/tiny/model-placebo/histories.parquet",
    "data/signals/tiny/writer.parquet",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = tmp_path / "data/raw/tiny/source.json"
    source.parent.mkdir(parents=True)
    source.write_text('{"variant": "mirror", "files": {"a": "0"}}')
    return tmp_path


def test_inputs_name_the_variant_and_hash_what_the_model_reads(root):
    made_from = inputs("tiny", "model-placebo", FEATURES, root)
    items, histories, signals = (sha256_of(root / name) for name in FILES)
    assert made_from == {
        "raw": {"variant": "mirror", "files": {"a": "0"}},
        "control": "shuffled",
        "sequences": {"items": items, "histories": histories},
        "signals": {"writer": signals},
    }


def test_the_vectors_that_a_model_reads_are_hashed(root):
    vectors = root / "data/encoded/tiny/model-placebo/text.parquet"
    vectors.parent.mkdir(parents=True)
    vectors.write_text("vectors")
    hashed = inputs("tiny", "model-placebo", FEATURES, root)["sequences"]
    assert list(hashed) == ["items", "histories", "text"]
    assert hashed["text"] == sha256_of(vectors)


def test_a_missing_input_is_an_error_that_names_it(root):
    (root / FILES[2]).unlink()
    with pytest.raises(LamarError, match=r"writer\.parquet: no such file"):
        inputs("tiny", "model-placebo", FEATURES, root)


def test_the_signature_is_the_same_every_time_and_lists_the_seeds_that_were_ranked(root):
    ranks = pl.DataFrame([(0, 1, 5, 0, 0, 9), (0, 1, 3, 0, 0, 9)], schema=SCHEMA, orient="row")
    made = [
        signature({"run": "model-placebo"}, inputs("tiny", "model-placebo", FEATURES, root), table)
        for table in (ranks, ranks.reverse())
    ]
    assert json.dumps(made[0]) == json.dumps(made[1])
    assert made[0]["seeds"] == [3, 5]
    assert made[0]["candidates"] == 9
    assert set(made[0]["versions"]) == {"lamar", "torch", "transformers", "polars"}
