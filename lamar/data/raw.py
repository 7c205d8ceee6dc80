"""What every reader returns: items and interactions under common names, and what was wrong on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from lamar.errors import LamarError

if TYPE_CHECKING:
    from lamar.data.interactions import Interactions

# An id costs 4 bytes a row, and its text is held once; users and items are counted apart.
INTERACTIONS = {
    "user_id": pl.Categorical(pl.Categories("user_id", "lamar")),
    "item_id": pl.Categorical(pl.Categories("item_id", "lamar")),
    "timestamp": pl.Int64,
}
LATEST = 1 << 62  # seconds; a larger number is no time
CHUNK_ROWS = 20_000  # rows held as Python objects at a time: 4 MB of interactions, 40 MB of items with descriptions


@dataclass
class Tally:
    """The lines of one raw file: how many were read, how many could not be used and why, and the first of those."""

    name: str
    total: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: tuple[int, str] | None = None

    def bad(self, reason: str, *lines: int) -> None:
        """Count `lines` (numbers, from 1, ascending) as unusable for `reason`."""
        if lines:
            self.reasons[reason] += len(lines)
            self.first = min(self.first or (lines[0], reason), (lines[0], reason))

    def add(self, other: Tally) -> None:
        """Count what was read of another part of the file."""
        self.total += other.total
        self.reasons.update(other.reasons)
        self.first = min((first for first in (self.first, other.first) if first), default=None)

    def check(self, limit: float) -> None:
        """Raise LamarError naming the file and its first bad line when more than `limit` (share) are malformed."""
        malformed = self.reasons.total()
        if self.first and malformed > limit * self.total:
            line, reason = self.first
            raise LamarError(
                f"{self.name}:{line}: {reason}; {malformed} of {self.total} lines are malformed, more than "
                f"prepare.max_malformed ({limit}): mend the file, fetch it again or raise the limit"
            )


@dataclass
class Raw:
    """A catalogue as read.

    items: item_id and one text column per attribute ('' when missing), `description` when the source has one.
    interactions: of `items`, in the order of the file.
    dropped: how many items or interactions were left out, by reason.
    storylines: what was joined of a file of storylines, when there is one.
    """

    items: pl.DataFrame
    interactions: Interactions
    tallies: list[Tally]
    dropped: dict[str, int]
    storylines: dict[str, Any] = field(default_factory=dict)


def frame_of(rows: Iterable[tuple[Any, ...]], schema: dict[str, Any]) -> pl.DataFrame:
    """A frame of `rows`, built in chunks so that only a few rows are Python objects at any time."""
    remaining: Iterator[tuple[Any, ...]] = iter(rows)
    chunks = [pl.DataFrame(schema=schema)]
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        chunks.append(pl.DataFrame(chunk, schema=schema, orient="row"))
    return pl.concat(chunks)


def one_line(column: str) -> pl.Expr:
    """The text of a column with whitespace collapsed, '' when missing: item text is written on one line."""
    return pl.col(column).cast(pl.String).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()


def without_untitled(items: pl.DataFrame, title: str) -> tuple[pl.DataFrame, pl.Series]:
    """The items that have a title, and the ids of those that have none."""
    untitled = pl.col(title) == ""
    return items.filter(~untitled), items.filter(untitled)["item_id"]
