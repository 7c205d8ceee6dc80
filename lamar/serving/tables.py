"""The files a user gives: histories of many users, and new items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl

from lamar.data.raw import one_line
from lamar.errors import LamarError

SCANNERS = {
    ".csv": partial(pl.scan_csv, infer_schema=False),  # an id like 007 stays what it is
    ".jsonl": pl.scan_ndjson,
    ".parquet": pl.scan_parquet,
}
BATCH = 10_000  # users that are read at a time


def split_ids(text: str) -> list[str]:
    """'a, b' as ['a', 'b']."""
    return [item for part in text.split(",") if (item := part.strip())]


def count_rows(path: Path) -> int:
    """How many rows a file has. Raises LamarError when it cannot be read."""
    with _told(path):
        return _scan(path, []).select(pl.len()).collect().item()


def read_histories(path: Path) -> Iterator[pl.DataFrame]:
    """Yield the users of a file, BATCH at a time. Columns: user, history (list of item ids, oldest first), both text.

    In the file a history is a list, or, as csv has none, ids separated by commas. Raises LamarError naming the file and
    what is wrong with it.
    """
    with _told(path):
        batches = _scan(path, ["user", "history"]).collect_batches(chunk_size=BATCH)
        for batch in batches:
            yield _histories(path, batch)


def _histories(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    if isinstance(table.schema["history"], pl.List):
        histories = table["history"].fill_null([]).list.drop_nulls()
    else:
        texts = table["history"].fill_null("")
        if path.suffix == ".jsonl" and texts.str.contains(r"^[\[{]").any():  # polars writes out what is no text
            raise LamarError(f"{path}: some histories are lists and others are not; make all of them lists")
        histories = pl.Series("history", [split_ids(text) for text in texts], dtype=pl.List(pl.String))
    return pl.DataFrame([table["user"], histories])


def read_new_items(path: Path, item_id: str, attributes: Sequence[str]) -> pl.DataFrame:
    """Columns: item_id, then all others of the file, as text on one line ('' where there is none).

    `item_id`: what the file calls the ids. Raises LamarError when it or one of `attributes` is no column, when an id is
    missing or there twice.
    """
    with _told(path):
        table = _scan(path, [item_id, *attributes]).collect()
    if item_id != "item_id" and "item_id" in table.columns:
        raise LamarError(f"{path}: the ids are in {item_id!r}, as in your table; leave out the column 'item_id'")
    table = table.rename({item_id: "item_id"}).with_columns(pl.selectors.list().list.join(", ", ignore_nulls=True))
    items = table.select("item_id", *(one_line(name) for name in table.columns if name != "item_id"))
    items = items.with_columns(one_line("item_id"))
    for row, count in items.group_by("item_id", maintain_order=True).len().iter_rows():
        if not row or count > 1:
            raise LamarError(f"{path}: {f'item id {row!r} is there {count} times' if row else 'an item has no id'}")
    return items


def texts_of(new: pl.DataFrame, columns: Sequence[str], attributes: Sequence[str]) -> pl.DataFrame:
    """New items' texts under the `columns` that a model reads; '' for a signal that they do not have.

    A column `signal` is the first of `columns` that is none of the dataset's `attributes`.
    """
    signals = [name for name in columns if name not in attributes]
    if signals and signals[0] not in new.columns and "signal" in new.columns:
        new = new.rename({"signal": signals[0]})
    return new.with_columns(pl.lit("").alias(name) for name in signals if name not in new.columns).select(columns)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make one line of what polars says of a file."""
    try:
        yield
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file") from None
    except pl.exceptions.PolarsError as error:
        raise LamarError(f"{path}: not readable ({str(error).splitlines()[0]})") from None


def _scan(path: Path, needed: Sequence[str]) -> pl.LazyFrame:
    """The columns of a file that are text, or lists of it, among them those that are `needed`."""
    if path.suffix not in SCANNERS:
        raise LamarError(f"{path}: unknown format; use {', '.join(SCANNERS)}")
    table = SCANNERS[path.suffix](path)
    schema = table.collect_schema()
    absent = next((name for name in needed if name not in schema), None)
    if absent is not None:
        raise LamarError(f"{path}: no column {absent!r}; it has {', '.join(schema)}")
    for name in needed:
        if _as_text(schema[name]) is None:
            raise LamarError(f"{path}: column {name!r} is {schema[name]}; give text, numbers or lists of them")
    kinds = {name: kind for name, dtype in schema.items() if (kind := _as_text(dtype)) is not None}
    return table.select(pl.col(name).cast(kind) for name, kind in kinds.items())


def _as_text(dtype: pl.DataType) -> pl.DataType | None:
    """What a column becomes: text or lists of text; None for what is no text, as structs and bytes."""
    many = isinstance(dtype, pl.List | pl.Array)
    inner = dtype.inner if many else dtype
    if inner.is_nested() or inner in (pl.Binary, pl.Object):
        return None
    return pl.List(pl.String) if many else pl.String()
