"""How a command ends: one line and a status, whatever went wrong on the user's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lamar.console import user_errors
from lamar.errors import LamarError
from lamar.files import read_json


def refuse() -> None:
    raise LamarError("params.yaml: [a] wrong key; correct it")


def interrupt() -> None:
    raise KeyboardInterrupt


def denied() -> None:
    raise PermissionError(13, "Permission denied", "params.yaml")  # by the kernel; root, who runs tests, may read all


ENDS = [
    (refuse, 1, "error: params.yaml: [a] wrong key; correct it\n"),
    (lambda: pl.read_parquet("data/none.parquet"), 1, "error: data/none.parquet: no such file; run the stage that"),
    (
        lambda: Path("data/none.csv").read_text(),
        1,
        "error: data/none.csv: no such file; run the stage",
    ),
    (lambda: read_json(Path("none.json")), 1, "error: none.json: no such file; run the stage that writes it (dvc"),
    (denied, 1, "error: params.yaml: may not be read\n"),
    (interrupt, 130, "interrupted; nothing half-written is left, run the same command to go on\n"),
]


@pytest.mark.parametrize(("command", "status", "said"), ENDS)
def test_a_command_ends_with_one_line(
    command: Callable[[], None], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        user_errors(command)()
    assert ended.value.code == status
    line = capsys.readouterr().err
    assert line.startswith(said)
    assert line.count("\n") == 1


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        user_errors(lambda: 1 // 0)()
