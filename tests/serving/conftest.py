from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from circle import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose runs are trained; to be read."""
    folder = tmp_path_factory.mktemp("circle")
    build(folder)
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder."""
    folder = tmp_path / "shop"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    return folder
