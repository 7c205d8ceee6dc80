"""JSON lines, plain or gzip, read one at a time; lines that cannot be used are counted, not fatal."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lamar.data.raw import Tally
from lamar.errors import LamarError

# Bytes of a line; the longest metadata of Amazon have some 100 KB, and a tiny gzip can hold gigabytes.
LONGEST = 16 << 20
BLOCK = 8 << 20  # bytes of lines that are parsed together: tens of thousands of reviews


@dataclass(frozen=True)
class Lines:
    """Consecutive lines of a file; `first`: the number of the first of them, from 1."""

    first: int
    lines: list[bytes]


def blocks(path: Path) -> Iterator[Lines]:
    """Cut a file into lines, a too long one in pieces. Raises LamarError naming the file when the gzip is broken."""
    opener = gzip.open if path.suffix == ".gz" else open
    lines: list[bytes] = []
    first, size = 1, 0
    try:
        with opener(path, "rb") as file:
            for line in iter(partial(file.readline, LONGEST), b""):
                lines.append(line)
                size += len(line)
                if size >= BLOCK:
                    yield Lines(first, lines)
                    first, size, lines = first + len(lines), 0, []
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise broken(path, error) from None
    yield Lines(first, lines)


def parsed(block: Lines, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of every good line, and count the others in `tally`."""
    for number, line in enumerate(block.lines, start=block.first):
        tally.total += 1
        record = _parsed(line)
        if isinstance(record, dict):
            yield number, record
        else:
            tally.bad("not a JSON object", number)


def records(path: Path, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """`parsed`, of a whole file. Raises LamarError naming the file when the gzip is broken or cut short."""
    for block in blocks(path):
        yield from parsed(block, tally)


def _parsed(line: bytes) -> Any:
    """The JSON value of a line, None when it has none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def broken(path: Path, error: Exception) -> LamarError:
    """The one-line error for an archive that cannot be read to its end."""
    return LamarError(f"{path}: broken or cut short ({error}); delete it and fetch it again")
