"""Films' storylines, from a file that the user names, joined to the films of MovieLens by title and year, or by id.

MovieLens writes `Matrix, The (1999)` and `Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)`. Other sources put the
article first, leave out the second title, or know the film by it alone, and differ in accents and punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from lamar.data.raw import Raw, Tally
from lamar.data.table import records
from lamar.errors import LamarError
from lamar.params import StorylineColumns

ATTRIBUTE = "storyline"  # what the text is called among a dataset's attributes
YEAR = re.compile(r"\b(\d{4})\b")
YEAR_AT_END = re.compile(r"\s*\((\d{4})\)[^()]*(?:\([^()]*\))?$")  # `(1995)`, `(1995) (V)`
PARENTHESES = re.compile(r"\(([^()]*)\)")
ALSO_KNOWN = re.compile(r"^a\.?k\.?a\.?\s+", re.IGNORECASE)
ARTICLES = "The A An La Le Les L' Un Une El Los Las Il Lo I Gli Una Uno Der Die Das Ein Eine De Den Det Het En Et O As"
ARTICLE_AT_END = re.compile(rf"^(.*), ({'|'.join(ARTICLES.split())})$", re.IGNORECASE)
APOSTROPHES = re.compile("['\u2018\u2019\u02bc`\u00b4]")
UNDIVIDED = str.maketrans({"&": " and ", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d"})  # NFKD leaves them whole


class Film(NamedTuple):
    """What a film is known by: its title and the titles in parentheses, all `plain`, and the year ('': unknown)."""

    title: str
    others: tuple[str, ...]
    year: str


def joined(raw: Raw, path: Path, columns: StorylineColumns) -> Raw:
    """`raw` with a column `storyline` ('' where none is known), the tally of `path`, and the share that was joined.

    The first row of a film counts. Raises LamarError when the file cannot be read, lacks a column that `columns`
    names, or knows none of the films.
    """
    tally = Tally(str(path))
    rows = _rows(path, columns, tally)
    texts = _by_id(rows, raw.items, columns) if columns.item else _by_title(rows, raw.items, columns)
    count = sum(text != "" for text in texts)
    if not count:
        raise LamarError(f"{path}: has the storyline of none of {len(texts)} films; check storylines.columns")
    items = raw.items.with_columns(pl.Series(ATTRIBUTE, texts, dtype=pl.String))
    found = {"file": path.name, "films": len(texts), "joined": count, "share": round(count / len(texts), 4)}
    return replace(raw, items=items, tallies=[*raw.tallies, tally], storylines=found)


def _rows(path: Path, columns: StorylineColumns, tally: Tally) -> Iterator[dict[str, str]]:
    """Yield the rows that have a storyline, all cells as one line of text."""
    named = [columns.item] if columns.item else [columns.title, columns.year]
    needed = {column for column in (*named, columns.storyline) if column}
    present: dict[str, None] = {}
    for _, record in records(path, tally):
        present.update(dict.fromkeys(record))
        row = {column: _line(record.get(column)) for column in needed}
        if row[columns.storyline]:
            yield row
    if absent := sorted(needed - present.keys()):
        raise LamarError(f"{path}: no column {absent[0]!r}; it has {', '.join(present)}: set storylines.columns")


def _line(value: Any) -> str:
    return "" if value is None else " ".join(str(value).encode("utf-8", "replace").decode().split())


def _by_id(rows: Iterable[dict[str, str]], items: pl.DataFrame, columns: StorylineColumns) -> list[str]:
    texts: dict[str, str] = {}
    for row in rows:
        texts.setdefault(row[str(columns.item)], row[columns.storyline])
    return [texts.get(item_id, "") for item_id in items["item_id"]]


def _by_title(rows: Iterable[dict[str, str]], items: pl.DataFrame, columns: StorylineColumns) -> list[str]:
    """The storyline of each item: by its title, else by its other titles, else by others that the file knows.

    Two films of a year that share only what stands in parentheses (`Director's Cut`) are not one film.
    """
    titles: dict[tuple[str, str], str] = {}
    others: dict[tuple[str, str], str] = {}
    for row in rows:
        film = film_of(row[columns.title], row[columns.year] if columns.year else "")
        titles.setdefault((film.title, film.year), row[columns.storyline])
        for other in film.others:
            others.setdefault((other, film.year), row[columns.storyline])

    def text(film: Film) -> str:
        known = [titles.get((title, film.year)) for title in (film.title, *film.others)]
        known.append(others.get((film.title, film.year)))
        return next((text for text in known if text), "") if film.year and film.title else ""

    return [text(film_of(title)) for title in items["title"]]


def film_of(title: str, year: str = "") -> Film:
    """The film that a source calls `title`, which may end in the year; `year` may be a date.

    `Seven (a.k.a. Se7en) (1995)` is Film("seven", ("se7en",), "1995").
    """
    stated = YEAR.search(year)
    at_end = YEAR_AT_END.search(title)
    named = title[: at_end.start()] if at_end else title
    found = stated or at_end
    others = [plain(ALSO_KNOWN.sub("", other)) for other in PARENTHESES.findall(named)]
    return Film(plain(PARENTHESES.sub(" ", named)), tuple(filter(None, others)), found.group(1) if found else "")


def plain(title: str) -> str:
    """A title as all sources write it: the article first, only letters and digits, in lower case, without accents."""
    first = ARTICLE_AT_END.sub(r"\2 \1", " ".join(title.split()))
    parts = unicodedata.normalize("NFKD", first.casefold().translate(UNDIVIDED))
    letters = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return "".join(re.findall(r"[^\W_]+", APOSTROPHES.sub("", letters)))
