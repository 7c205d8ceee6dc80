"""What the tests of asking share: the server that fails as it is told, a key, and an empty folder to work in."""

from __future__ import annotations

import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_generators import SECRET
from llm_server import Server
from stage_process import REPOSITORY, Place, Run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The server; the key is in the environment, and the journal will be in the empty working directory."""
    monkeypatch.setenv("TEST_API_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    with Server() as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def run(here: Place, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a stage in this process, which has loaded what stages take long to load, at the place `here`; its status."""
    monkeypatch.chdir(here.folder)
    for name in ("OPENAI_API_KEY", "LAMAR_JOURNAL"):
        monkeypatch.setenv(name, here.environment[name])

    def in_this_process(stage: str) -> int:
        main = runpy.run_path(str(REPOSITORY / f"stages/{stage}.py"))["main"]
        with pytest.raises(SystemExit) as ended:
            main(["ml-100k", "gpt-4o-mini"])
        return ended.value.code or 0

    return in_this_process
