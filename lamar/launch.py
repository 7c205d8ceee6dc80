"""Which of the processes that `accelerate launch` started for one training this one is; known without PyTorch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lamar.errors import LamarError

PATIENCE = 5.0  # seconds: a launcher looks ten times a second whether a process has ended, and then ends the others


class LostProcessError(LamarError):
    """Another process has ended, which has said why if it could."""


def processes() -> int:
    """How many train together: 1 unless a launcher says otherwise."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


def is_main() -> bool:
    """Whether this is the process that speaks and writes: the first of them, or the only one."""
    return processes() == 1 or os.environ["RANK"] == "0"


@contextmanager
def one_speaks() -> Iterator[None]:
    """An error that several processes meet is told by one of them.

    The main process fails at once. Another one first gives it the time to do so: the launcher then ends this one
    silently. So does a process that has only lost another.
    """
    try:
        yield
    except Exception as error:
        if not is_main() or isinstance(error, LostProcessError):
            time.sleep(PATIENCE)
        raise


def refuse_several(command: str) -> None:
    """Raises LamarError when a launcher started this process as one of several."""
    if processes() > 1:
        raise LamarError(f"one process does this: start python {command} without a launcher")


def end(status: int) -> NoReturn:
    """End this process. One of several ends at once: an orderly end waits for the others, which wait for this one."""
    if processes() == 1:
        sys.exit(status)
    sys.stderr.flush()
    os._exit(status)
