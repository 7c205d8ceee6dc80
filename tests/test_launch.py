"""What a process does that a launcher started as one of several."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.progress import Progress

from lamar import console, launch, tracking
from lamar.errors import LamarError
from lamar.params import Tracking

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the second of two processes."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_without_a_launcher_a_process_is_the_main_one(monkeypatch):
    assert (launch.processes(), launch.is_main()) == (1, True)
    monkeypatch.setenv("WORLD_SIZE", "8")  # as batch systems set it for their own purposes
    assert (launch.processes(), launch.is_main()) == (1, True)


def test_the_second_process_is_silent(second, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert (launch.processes(), launch.is_main()) == (2, False)
    console.say("a line")
    with console.progress() as bar:
        assert isinstance(bar, Progress)
        bar.add_task("a task", total=1, note="")
    with tracking.run(Tracking(enabled=True, experiment="lamar"), "a run", {}, {}) as tracker:
        tracker.epoch({"loss": 1.0}, step=1)
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_the_second_process_lets_the_main_one_speak_first(second, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)

    with pytest.raises(LamarError), launch.one_speaks():
        raise LamarError("what only the second meets")
    assert waited == [launch.PATIENCE]


FAILING = """
import atexit, sys
from lamar import console, launch
from lamar.errors import LamarError
launch.PATIENCE = 0.0
atexit.register(print, "an orderly end")

@console.user_errors
def main():
    raise {error}

main()
"""


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [("LamarError('a line')", 1, "error: a line\n"), ("KeyboardInterrupt", 130, "")],
)
def test_the_second_process_ends_at_once(second, error, status, said):
    script = [sys.executable, "-c", FAILING.format(error=error)]
    ended = subprocess.run(script, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == status
    assert (ended.stderr, ended.stdout) == (said, "")


def test_the_main_process_waits_for_a_lost_one_to_speak(monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    for error, patience in ((LamarError("mine"), []), (launch.LostProcessError("not mine"), [launch.PATIENCE])):
        with pytest.raises(type(error)), launch.one_speaks():
            raise error
        assert waited == patience


def test_a_model_that_one_process_trains(second, monkeypatch):
    command = ["stages/train.py", "ml-100k", "sasrec"]
    monkeypatch.setenv("RANK", "0")
    ended = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"error: one process does this: start python {' '.join(command)} without a launcher\n"
