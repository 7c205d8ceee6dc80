"""The journal: every answer an LLM ever gave, kept for good, so that none is asked for twice.

One JSON line an answer, appended and flushed as it arrives. It lies outside the pipeline's folders (LAMAR_JOURNAL,
by default in the user's data directory), because an aborted or temporary experiment throws its folder away.

A line is handed to the kernel before its answer counts: from then on kill -9 cannot lose it. Only a loss of power can,
and for that `sync` hands lines to the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from lamar.errors import LamarError
from lamar.files import unwritable

LOST = "lost"
"""finish_reason of a line that is no answer, but a request whose answer never came and that may have cost something."""


@dataclass(frozen=True)
class Answer:
    """One answered request. `model` is the name the provider reports; tokens as the provider counts them.

    Of remote answers only: `seconds` that the successful attempt took, how many `attempts` there were, and
    `reserved_usd`, the most it can have cost, where the provider counted no tokens.
    """

    key: str
    model: str
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    seconds: float | None = None
    attempts: int | None = None
    reserved_usd: float | None = None


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
    return {answer.key: answer for answer in _lines(path) if answer.finish_reason != LOST}


def lost(path: Path) -> list[Answer]:
    """The requests in a journal that may have cost something and never brought an answer. Raises as `read`."""
    return [answer for answer in _lines(path) if answer.finish_reason == LOST]


def _lines(path: Path) -> Iterator[Answer]:
    if not path.exists():
        return
    whole = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break was never finished
    for number, line in enumerate(whole, start=1):
        yield _parse(path, number, line)


def _parse(path: Path, number: int, line: bytes) -> Answer:
    try:
        return Answer(**json.loads(line))
    except (ValueError, TypeError):
        raise LamarError(f"{path}:{number}: not an answer; restore the file or delete this line") from None


class Journal:
    """A journal open for appending; made by `opened`."""

    def __init__(self, path: Path, descriptor: int, spare: IO[bytes] | None = None) -> None:
        """Wrap an open file descriptor positioned at the end of the last whole line.

        spare: a file without a name whose room on the disk is given up for the last lines when the disk is full.
        """
        self.path = path
        self._descriptor = descriptor
        self._spare = spare

    def append(self, answers: Iterable[Answer]) -> None:
        """Write answers as whole lines.

        Raises LamarError when the disk is full; with a spare, the answers are kept all the same, and the next ones
        may be: it is time to stop asking.
        """
        lines = "".join(to_line(answer) for answer in answers).encode(errors="replace")  # half a surrogate pair: ?
        try:
            self._write(lines)
        except OSError as error:
            if self._spare is not None:
                self._spare.close()
                self._spare = None
                with suppress(OSError):
                    self._write(lines)
            raise unwritable(self.path, error) from error

    def sync(self) -> None:
        """Hand what was appended to the disk. Raises LamarError when the disk is full."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _write(self, lines: bytes) -> None:
        """Write all or nothing: half a line must not stand before what is written later."""
        whole = os.fstat(self._descriptor).st_size
        try:
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]
        except OSError:
            with suppress(OSError):  # no regular file
                os.ftruncate(self._descriptor, whole)
            raise


def to_line(answer: Answer) -> str:
    """An answer as one line of a journal."""
    fields = {name: value for name, value in vars(answer).items() if value is not None}
    return json.dumps(fields, ensure_ascii=False, sort_keys=True) + "\n"


@contextmanager
def opened(path: Path, spare: int = 0) -> Iterator[Journal]:
    """Open a journal for appending, alone. A torn last line is cut off first.

    spare: bytes of the disk set aside for answers that arrive when it is full. Raises LamarError when another process
    holds the journal, the folder cannot be written or the disk has not even that room.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock", timeout=0))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            held.callback(os.close, descriptor)
            os.ftruncate(descriptor, _end_of_last_line(path))
            reserve = held.enter_context(tempfile.TemporaryFile(dir=path.parent))  # gone however this process ends
            if spare:
                os.posix_fallocate(reserve.fileno(), 0, spare)
        except Timeout:
            raise LamarError(f"{path}: another process is asking; wait for it or stop it") from None
        except OSError as error:
            raise unwritable(path, error) from error
        book = Journal(path, descriptor, reserve if spare else None)
        yield book
        book.sync()


def _end_of_last_line(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
