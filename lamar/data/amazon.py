"""Amazon review data (2018) as published: `<Category>_5.json.gz` and `meta_<Category>.json.gz`, read as a stream."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from lamar.data.jsonlines import records
from lamar.data.raw import INTERACTIONS, LATEST, Raw, Tally, frame_of, of_known_items, without_untitled
from lamar.errors import LamarError

DESCRIPTION_LENGTH = 2000  # characters; some are whole manuals
MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL | re.IGNORECASE)

Row = tuple[Any, ...]


def read(folder: Path, files: list[str], attributes: list[str]) -> Raw:
    """Read the reviews, then the metadata of the items that occur in them.

    `attributes` are fields of the metadata, the title first. Raises LamarError when a file is absent or broken, or
    when no item has a field that `attributes` names.
    """
    reviews, metadata = _one(folder, files, "_5.json.gz"), _one(folder, files, ".json.gz", prefix="meta_")
    tallies = [Tally(str(reviews)), Tally(str(metadata))]
    interactions = frame_of(_interactions(reviews, tallies[0]), INTERACTIONS)
    columns = list(dict.fromkeys([*attributes, "description"]))
    counts: Counter[str] = Counter()
    rows = _items(metadata, tallies[1], columns, set(interactions["item_id"].unique()), counts)
    items = frame_of(rows, dict.fromkeys(["item_id", *columns], pl.String))
    _check_fields(metadata, attributes, counts)
    items, untitled = without_untitled(items, attributes[0])
    interactions, dropped = of_known_items(interactions, items, untitled)
    dropped |= {"items_duplicate": counts["duplicate item"], "items_without_title": len(untitled)}
    return Raw(items, interactions, tallies, dropped)


def _one(folder: Path, files: list[str], suffix: str, prefix: str = "") -> Path:
    """The one file among `files` that is named so."""
    named = [file for file in files if file.startswith(prefix) and file.endswith(suffix)]
    if len(named) != 1:
        raise LamarError(f"{folder}: needs one file named {prefix}<Category>{suffix}; it has {', '.join(files)}")
    return folder / named[0]


def _interactions(path: Path, tally: Tally) -> Iterator[Row]:
    """Yield (user_id, item_id, timestamp in seconds)."""
    for number, record in records(path, tally):
        row = (record.get("reviewerID"), record.get("asin"), record.get("unixReviewTime"))
        if _is_id(row[0]) and _is_id(row[1]) and type(row[2]) is int and 0 <= row[2] < LATEST:
            yield row
        else:
            tally.bad("no reviewerID, asin or unixReviewTime", number)


def _items(path: Path, tally: Tally, columns: list[str], wanted: set[str], counts: Counter[str]) -> Iterator[Row]:
    """Yield (item_id, text of every column) of each wanted item, once.

    `counts` gathers 'duplicate item' and, as 'field <name>', how many items have a field.
    """
    seen: set[str] = set()
    for number, record in records(path, tally):
        item_id = record.get("asin")
        if not _is_id(item_id):
            tally.bad("no asin", number)
        elif item_id in seen:
            counts["duplicate item"] += 1
        elif item_id in wanted:
            seen.add(item_id)
            counts.update(f"field {column}" for column in columns if column in record)
            yield item_id, *(_field(record, column) for column in columns)


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


def _check_fields(path: Path, attributes: list[str], counts: Counter[str]) -> None:
    absent = [name for name in attributes if not counts[f"field {name}"]]
    if absent:
        raise LamarError(f"{path}: no item has the field {absent[0]!r} that params.yaml lists under attributes")
