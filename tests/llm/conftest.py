"""What the tests of asking share: the server that fails as it is told, a key, and an empty folder to work in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_generators import SECRET
from llm_server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The server; the key is in the environment, and the journal will be in the empty working directory."""
    monkeypatch.setenv("TEST_API_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    with Server() as running:
        yield running
