"""Fixtures of the whole suite: a tiny real LLM to ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_llm as tiny

from lamar.params import LocalGenerator


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LAMAR_CACHE that holds the tiny LLM."""
    cache = tmp_path_factory.mktemp("cache")
    tiny.write_weights(cache)
    return cache


@pytest.fixture
def tiny_llm(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalGenerator]:
    """The tiny LLM (float32, or the dtype of an indirect parameter), asked with an empty journal in `tmp_path`."""
    import torch

    monkeypatch.setenv("LAMAR_CACHE", str(tiny_cache))
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / "journal"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model spends its time waiting for the second one
    yield tiny.generator(getattr(request, "param", "float32"))
    torch.set_num_threads(threads)
