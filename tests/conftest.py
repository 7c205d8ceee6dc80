"""Fixtures of the whole suite: one thread, and a tiny real LLM to ask."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_llm as tiny

from lamar.params import LocalGenerator


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Models as small as the tests' spend their time waiting for a second thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LAMAR_CACHE that holds the tiny LLM."""
    cache = tmp_path_factory.mktemp("cache")
    tiny.write_weights(cache)
    return cache


@pytest.fixture
def tiny_llm(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> LocalGenerator:
    """The tiny LLM (float32, or the dtype of an indirect parameter), asked with an empty journal in `tmp_path`."""
    monkeypatch.setenv("LAMAR_CACHE", str(tiny_cache))
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / "journal"))
    return tiny.generator(getattr(request, "param", "float32"))
