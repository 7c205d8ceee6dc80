"""Amazon review data (2018) as published: `<Category>_5.json.gz` and `meta_<Category>.json.gz`, read as a stream."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from lamar.data.interactions import Interactions
from lamar.data.jsonlines import Lines, blocks, parsed
from lamar.data.raw import INTERACTIONS, LATEST, Raw, Tally, frame_of, without_untitled
from lamar.engine import Engine, here, in_order
from lamar.errors import LamarError

DESCRIPTION_LENGTH = 2000  # characters; some are whole manuals
MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL | re.IGNORECASE)

Row = tuple[Any, ...]
Rows = Callable[[Lines, Tally], Iterator[Row]]
"""What is made of a block of lines; the lines that are no good are counted."""


def read(folder: Path, files: list[str], attributes: list[str], engine: Engine = here) -> Raw:
    """Read the reviews, then the metadata of the items that occur in them.

    `attributes` are fields of the metadata, the title first. Raises LamarError when a file is absent or broken, or
    when no item has a field that `attributes` names.
    """
    reviews, metadata = _one(folder, files, "_5.json.gz"), _one(folder, files, ".json.gz", prefix="meta_")
    of_reviews, of_metadata = Tally(str(reviews)), Tally(str(metadata))
    interactions = Interactions(_frames(reviews, _interactions, INTERACTIONS, engine, of_reviews), folder)
    columns = list(dict.fromkeys([*attributes, "description"]))
    wanted = partial(_items, columns=columns, wanted=set(interactions.present("item")))
    schema = dict.fromkeys(["item_id", *columns], pl.String) | {f"has {name}": pl.Boolean for name in columns}
    found = pl.concat([pl.DataFrame(schema=schema), *_frames(metadata, wanted, schema, engine, of_metadata)])
    items = found.unique("item_id", keep="first", maintain_order=True)
    _check_fields(metadata, attributes, items)
    items, untitled = without_untitled(items.select("item_id", *columns), attributes[0])
    dropped = interactions.keep_items(items, untitled)
    dropped |= {"items_duplicate": found.height - items.height - len(untitled), "items_without_title": len(untitled)}
    return Raw(items, interactions, [of_reviews, of_metadata], dropped)


def _frames(path: Path, rows: Rows, schema: dict[str, Any], engine: Engine, tally: Tally) -> Iterator[pl.DataFrame]:
    """Yield what `rows` makes of a file's lines, in their order."""
    for frame, part in in_order(engine(partial(blocks, path), partial(partial, _parsed, rows, schema, str(path)))):
        tally.add(part)
        yield frame


def _parsed(rows: Rows, schema: dict[str, Any], name: str, block: Lines) -> tuple[pl.DataFrame, Tally]:
    tally = Tally(name)
    return frame_of(rows(block, tally), schema), tally


def _one(folder: Path, files: list[str], suffix: str, prefix: str = "") -> Path:
    """The one file among `files` that is named so."""
    named = [file for file in files if file.startswith(prefix) and file.endswith(suffix)]
    if len(named) != 1:
        raise LamarError(f"{folder}: needs one file named {prefix}<Category>{suffix}; it has {', '.join(files)}")
    return folder / named[0]


def _interactions(block: Lines, tally: Tally) -> Iterator[Row]:
    """Yield (user_id, item_id, timestamp in seconds)."""
    for number, record in parsed(block, tally):
        row = (record.get("reviewerID"), record.get("asin"), record.get("unixReviewTime"))
        if _is_id(row[0]) and _is_id(row[1]) and type(row[2]) is int and 0 <= row[2] < LATEST:
            yield row
        else:
            tally.bad("no reviewerID, asin or unixReviewTime", number)


def _items(block: Lines, tally: Tally, columns: list[str], wanted: set[str]) -> Iterator[Row]:
    """Yield (item_id, text of every column, whether the record has it at all) of each wanted item."""
    for number, record in parsed(block, tally):
        item_id = record.get("asin")
        if not _is_id(item_id):
            tally.bad("no asin", number)
        elif item_id in wanted:
            yield item_id, *(_field(record, name) for name in columns), *(name in record for name in columns)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isascii()


def _field(record: dict[str, Any], name: str) -> str:
    """A field as one line of text: lists are joined, descriptions by spaces and cut, others by commas."""
    value = record.get(name)
    parts = value if isinstance(value, list) else [value]
    texts = [text for part in parts if part is not None and (text := clean(str(part)))]
    return " ".join(texts)[:DESCRIPTION_LENGTH].rstrip() if name == "description" else ", ".join(texts)


def clean(text: str) -> str:
    """Text without HTML: entities become characters, markup goes, whitespace is collapsed.

    Half a surrogate pair, which JSON may hold and no file can, becomes a question mark.
    """
    plain = MARKUP.sub(" ", html.unescape(text))
    return " ".join(plain.split()).encode("utf-8", "replace").decode()


def _check_fields(path: Path, attributes: list[str], items: pl.DataFrame) -> None:
    absent = [name for name in attributes if not items[f"has {name}"].any()]
    if absent:
        raise LamarError(f"{path}: no item has the field {absent[0]!r} that params.yaml lists under attributes")
