"""Files are written whole or not at all, and known by their sha256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
from polars.io.plugins import register_io_source

from lamar.errors import LamarError

CHUNK = 1 << 20  # bytes read at a time: large enough that hashing, not reading, sets the speed


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; it becomes `path` only if the block succeeds.

    Raises LamarError when the folder cannot be written or the disk is full; nothing is left behind then.
    """
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        unfinished = Path(name)
        unfinished.chmod(0o666 & ~_umask())
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> LamarError:
    """The one-line error for a file that could not be written."""
    remedies = {
        errno.ENOSPC: "free some disk space and run again",
        errno.EACCES: "make the folder writable or choose another",
        errno.EROFS: "the file system is read-only: choose another folder",
    }
    remedy = remedies.get(error.errno or 0, "see the message")
    return LamarError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


class _Remembering:
    """A file that remembers why it could not be written: polars makes another error of it, without the number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table as zstd parquet, whole or not at all; raises LamarError as `written_whole` does."""
    with written_whole(path) as unfinished:
        put_parquet(unfinished, table)


def put_parquet(path: Path, table: pl.DataFrame | pl.LazyFrame) -> None:
    """Write a table to `path`, as zstd parquet. Raises OSError, as Python's own files do, when the disk is full."""
    with path.open("wb") as opened:
        file = _Remembering(opened)
        try:
            table.lazy().sink_parquet(file, compression="zstd", engine="streaming")
        except pl.exceptions.PolarsError:
            raise file.error or OSError(f"polars cannot write {path.name}") from None


def streamed(tables: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.LazyFrame:
    """One table of many, all with the columns of `schema`, each of which is made when the one before it was taken."""
    return register_io_source(lambda *_: tables, schema=schema)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline. Raises ValueError for NaN: a metric is a number."""
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises LamarError naming the file when it is absent or broken."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run the stage that writes it (dvc repro)") from None
    except json.JSONDecodeError as error:
        raise LamarError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
