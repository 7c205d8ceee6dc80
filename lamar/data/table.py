"""A user's own catalogue: items and interactions as csv, tsv, jsonl (also .gz) or parquet, columns of any name."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import polars as pl

from lamar.data.interactions import Interactions
from lamar.data.jsonlines import LONGEST, broken
from lamar.data.jsonlines import records as json_records
from lamar.data.raw import INTERACTIONS, LATEST, Raw, Tally, frame_of, one_line, without_untitled
from lamar.errors import LamarError
from lamar.params import Dataset

Record = dict[str, Any]


def read(folder: Path, dataset: Dataset) -> Raw:
    """Read the two files that `dataset` names, by their basenames in `folder`.

    Raises LamarError naming the file and the column, item id or line that is wrong.
    """
    paths = [folder / Path(file).name for file in (dataset.items or "", dataset.interactions or "")]
    tallies = [Tally(str(path)) for path in paths]
    items = _items(paths[0], dataset, tallies[0])
    interactions = _interactions(paths[1], dataset, tallies[1])
    items, untitled = without_untitled(items, dataset.attributes[0])
    kept = Interactions([interactions], folder)
    dropped = kept.keep_items(items, untitled)
    return Raw(items, kept, tallies, {"items_without_title": len(untitled), **dropped})


def _items(path: Path, dataset: Dataset, tally: Tally) -> pl.DataFrame:
    """item_id, the attributes, and `description` when the file has one."""
    id_column = dataset.columns.item
    columns = list(dict.fromkeys([*dataset.attributes, "description"]))

    def row(record: Record) -> tuple[Any, ...] | None:
        item_id = _text(record.get(id_column))
        return (item_id, *(_text(record.get(column)) for column in columns)) if item_id else None

    needed = [id_column, *dataset.attributes]
    items, present = _frame(path, row, dict.fromkeys(["item_id", *columns], pl.String), needed, tally)
    twice = items.filter(pl.col("item_id").is_duplicated())["item_id"]
    if len(twice):
        raise LamarError(f"{path}: item id {twice[0]!r} is there more than once; keep one row per item")
    return items.select("item_id", *(one_line(column) for column in columns if column in present))


def _interactions(path: Path, dataset: Dataset, tally: Tally) -> pl.DataFrame:
    """user_id, item_id, timestamp (seconds)."""
    columns = dataset.columns

    def row(record: Record) -> tuple[str, str, int] | None:
        user_id, item_id = _text(record.get(columns.user)), _text(record.get(columns.item))
        timestamp = seconds(record.get(columns.timestamp))
        return (user_id, item_id, timestamp) if user_id and item_id and timestamp is not None else None

    return _frame(path, row, INTERACTIONS, [columns.user, columns.item, columns.timestamp], tally)[0]


def _frame(
    path: Path,
    row: Callable[[Record], tuple[Any, ...] | None],
    schema: dict[str, Any],
    needed: list[str],
    tally: Tally,
) -> tuple[pl.DataFrame, set[str]]:
    """The rows that `row` makes of a file's records (None: malformed), and the columns that the file has."""
    present: dict[str, None] = {}

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, record in records(path, tally):
            present.update(dict.fromkeys(record))
            if made := row(record):
                yield made
            else:
                tally.bad(f"no usable {', '.join(needed)}", number)

    frame = frame_of(rows(), schema)
    absent = [column for column in needed if column not in present]
    if not tally.total:
        raise LamarError(f"{path}: no rows; fill it or name another file in params.yaml")
    if present and absent:
        raise LamarError(
            f"{path}: no column {absent[0]!r}; it has {', '.join(present)}: "
            "set `columns` or `attributes` of the dataset in params.yaml"
        )
    return frame, set(present)


def records(path: Path, tally: Tally) -> Iterator[tuple[int, Record]]:
    """Yield (line number, or row number of a parquet file, from 1; record); broken lines are counted in `tally`.

    Raises LamarError naming the file when its format is unknown or it cannot be read to its end.
    """
    readers = {
        ".csv": lambda: _csv_records(path, ",", tally),
        ".tsv": lambda: _csv_records(path, "\t", tally),
        ".jsonl": lambda: json_records(path, tally),
        ".parquet": lambda: _parquet_records(path, tally),
    }
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in readers:
        raise LamarError(f"{path}: unknown format; use {', '.join(readers)}")
    return readers[suffix]()


def _csv_records(path: Path, separator: str, tally: Tally) -> Iterator[tuple[int, Record]]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(_lines(file, path), delimiter=separator)
            for record in reader:
                tally.total += 1
                if None in record or None in record.values():  # a longer or a shorter row than the header
                    tally.bad(f"not {len(reader.fieldnames or [])} fields", reader.line_num)
                else:
                    yield reader.line_num, record
    except UnicodeDecodeError:
        raise LamarError(f"{path}: not UTF-8; save it as UTF-8") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise broken(path, error) from None
    except csv.Error as error:
        raise LamarError(
            f"{path}:{reader.line_num}: not valid CSV ({error}); look for an open quotation mark"
        ) from None


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    """Yield the lines. Raises LamarError for one that is longer than any of a table: a tiny gzip can hold gigabytes."""
    for number, line in enumerate(iter(partial(file.readline, LONGEST), ""), start=1):
        if len(line) == LONGEST and line[-1] not in "\r\n":
            raise LamarError(f"{path}:{number}: a line of more than {LONGEST:,} characters; shorten it or leave it out")
        yield line


def _parquet_records(path: Path, tally: Tally) -> Iterator[tuple[int, Record]]:
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise LamarError(
            f"{path}: not a readable parquet file ({str(error).splitlines()[0]}); write it again"
        ) from None
    tally.total = frame.height
    yield from enumerate(frame.iter_rows(named=True), start=1)


def _text(value: Any) -> str:
    """A cell as text: lists are joined by commas, nothing is ''."""
    if isinstance(value, list):
        return ", ".join(text for part in value if (text := _text(part)))
    return "" if value is None else str(value).encode("utf-8", "replace").decode().strip()


def seconds(value: Any) -> int | None:
    """Seconds since 1970 of a number, or of an ISO date or time (UTC unless it says otherwise); else None."""
    text = value.isoformat() if isinstance(value, date) else str(value).strip()  # a datetime is a date, too
    for parse in (int, float, _since_1970):
        with suppress(ValueError):
            if abs(number := parse(text)) < LATEST:
                return math.floor(number)
    return None


def _since_1970(text: str) -> float:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
