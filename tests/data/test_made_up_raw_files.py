"""The files that benchmarks/prepare.py makes up are what the stage meets in a download."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from catalogues import Prepared, make_dataset

from lamar.files import sha256_of


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/prepare.py"
    spec = importlib.util.spec_from_file_location("prepare_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_files_twice_and_others_with_another_seed(benchmark: ModuleType, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        benchmark.write_raw(tmp_path / name, 0.0005, seed)
        made[name] = [sha256_of(path) for path in sorted((tmp_path / name).glob("*.gz"))]
    assert len(made["a"]) == 2
    assert made["a"] == made["b"]
    assert not set(made["a"]) & set(made["c"])


def test_every_review_is_of_a_listed_item(
    benchmark: ModuleType, tmp_path: Path, prepared: Callable[..., Prepared]
) -> None:
    made = benchmark.write_raw(tmp_path / "made-up", 0.001)
    result = prepared(tmp_path / "made-up", make_dataset(**benchmark.ENTRY))
    dropped = result.statistics["dropped"]
    assert result.statistics["malformed"] == {}
    assert result.statistics["interactions"] + dropped["interactions_of_those_users"] == made["reviews"]
    assert dropped["interactions_unknown_item"] == dropped["items_without_title"] == 0
    assert made["review_file_bytes"] == pytest.approx(0.001 * 1e9, rel=0.15)
