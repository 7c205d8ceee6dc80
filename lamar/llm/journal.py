"""The journal: every answer an LLM ever gave, kept for good, so that none is asked for twice.

One JSON line an answer, appended and flushed as it arrives. It lies outside the pipeline's folders (LAMAR_JOURNAL,
by default in the user's data directory), because an aborted or temporary experiment throws its folder away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from lamar.errors import LamarError
from lamar.files import unwritable


@dataclass(frozen=True)
class Answer:
    """One answered request. `model` is the name the provider reports; tokens as the provider counts them."""

    key: str
    model: str
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int


def key_of(identity: dict[str, Any], messages: Iterable[dict[str, str]]) -> str:
    """Hex sha256 of who is asked (provider, model, sampling) and what: the same question has the same key."""
    question = json.dumps({"asked": identity, "messages": list(messages)}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(question.encode()).hexdigest()


def default_folder() -> Path:
    """Where journals are kept: $LAMAR_JOURNAL, or `journal` in the user's data directory."""
    return Path(os.environ.get("LAMAR_JOURNAL") or user_data_path("lamar") / "journal")


def read(path: Path) -> dict[str, Answer]:
    """All answers in a journal by key; an absent file is an empty journal.

    A torn last line (the process was killed while writing it) is dropped. Raises LamarError, naming the line,
    when any other line cannot be read.
    """
    if not path.exists():
        return {}
    whole = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break was never finished
    answers = (_parse(path, number, line) for number, line in enumerate(whole, start=1))
    return {answer.key: answer for answer in answers}


def _parse(path: Path, number: int, line: bytes) -> Answer:
    try:
        return Answer(**json.loads(line))
    except (ValueError, TypeError):
        raise LamarError(f"{path}:{number}: not an answer; restore the file or delete this line") from None


class Journal:
    """A journal open for appending; made by `opened`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Wrap an open file descriptor positioned at the end of the last whole line."""
        self._path = path
        self._descriptor = descriptor

    def append(self, answers: Iterable[Answer]) -> None:
        """Write answers as whole lines and hand them to the disk. Raises LamarError when the disk is full."""
        lines = "".join(to_line(answer) for answer in answers).encode()
        try:
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise unwritable(self._path, error) from error


def to_line(answer: Answer) -> str:
    """An answer as one line of a journal."""
    return json.dumps(asdict(answer), ensure_ascii=False, sort_keys=True) + "\n"


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """Open a journal for appending, alone. A torn last line is cut off first.

    Raises LamarError when another process holds it or the folder cannot be written.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock", timeout=0))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            held.callback(os.close, descriptor)
            os.ftruncate(descriptor, _end_of_last_line(path))
        except Timeout:
            raise LamarError(f"{path}: another process is asking; wait for it or stop it") from None
        except OSError as error:
            raise unwritable(path, error) from error
        yield Journal(path, descriptor)


def _end_of_last_line(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
