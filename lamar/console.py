"""What a person sees: plain lines, progress bars, and one-line errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lamar import launch
from lamar.errors import LamarError

F = TypeVar("F", bound=Callable[..., Any])

console = Console(stderr=True, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """A progress bar on standard error: done / total, time left, and a free `note` column.

    Of processes that train together only the main one shows it.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not launch.is_main(),
    )


def say(line: str) -> None:
    """Print one plain line; brackets in it (item text) are never read as markup.

    Of processes that train together only the main one does.
    """
    if launch.is_main():
        console.print(line, markup=False)


def unreadable(error: FileNotFoundError | PermissionError) -> str:
    """One line about a file that could not be opened; polars tells its name in the message alone."""
    name = error.filename or str(error).rpartition(": ")[2]
    absent = isinstance(error, FileNotFoundError)
    return f"{name}: {'no such file; run the stage that writes it (dvc repro)' if absent else 'may not be read'}"


def user_errors(command: F) -> F:
    """Decorate a command: a LamarError or a file that cannot be read ends it with one line and 1, Ctrl-C with 130."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with launch.one_speaks():
                return command(*args, **kwargs)
        except LamarError as error:
            console.print(f"error: {error}", markup=False)
            launch.end(1)
        except (FileNotFoundError, PermissionError) as error:
            console.print(f"error: {unreadable(error)}", markup=False)
            launch.end(1)
        except KeyboardInterrupt:
            say("interrupted; nothing half-written is left, run the same command to go on")
            launch.end(130)

    return wrapped  # type: ignore[return-value]
