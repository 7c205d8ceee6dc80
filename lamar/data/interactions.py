"""Interactions in the order of the file, of which only a part is in memory at a time."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import numpy as np
import polars as pl

from lamar.data.raw import INTERACTIONS
from lamar.files import unwritable

ROW = np.dtype([("user", np.int32), ("item", np.int32), ("timestamp", np.int64)])
READ_ROWS = 1 << 18  # read at a time: 4 MB
SORT_ROWS = 1 << 21  # sorted at a time, and those of one user more: 32 MB, and some 150 while they are sorted
IN_MEMORY = 1 << 20  # bytes of a spool that stay in memory

Side = Literal["user", "item"]


class Spool:
    """Rows, in the order in which they were added; a file without a name has them when they are many.

    The file is gone with the process, whatever ends it. Raises LamarError when it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where the file lies."""
        self._folder = folder
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=folder)  # noqa: SIM115 - closed in the next line
        weakref.finalize(self, _close, self._file)

    def add(self, rows: np.ndarray) -> None:
        """Append rows of the type ROW."""
        try:
            self._file.write(rows.tobytes())
            self._file.flush()
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def rows(self) -> Iterator[np.ndarray]:
        """All rows from the first, some at a time."""
        self._file.seek(0)
        while block := self._file.read(READ_ROWS * ROW.itemsize):
            yield np.frombuffer(block, ROW)

    def all_rows(self) -> np.ndarray:
        """All rows at once."""
        self._file.seek(0)
        return np.frombuffer(self._file.read(), ROW)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # of a full disk, which `add` told
        file.close()


class Interactions:
    """The rows of a catalogue's interactions, kept beside its raw files, with users and items as codes from 0.

    ids: the text of each code, of users and of items; kept: whether the rows of a code are read, of both.
    """

    def __init__(self, frames: Iterable[pl.DataFrame], folder: Path) -> None:
        """Take `frames` with the columns of raw.INTERACTIONS, one after the other."""
        self._spool = Spool(folder)
        self.folder = folder
        alive = {name: pl.Series(dtype=INTERACTIONS[f"{name}_id"]) for name in ("user", "item")}  # codes of all frames
        for frame in frames:
            rows = np.empty(frame.height, ROW)
            for name in alive:
                rows[name] = frame[f"{name}_id"].to_physical().to_numpy()
            rows["timestamp"] = frame["timestamp"].to_numpy()
            self._spool.add(rows)
        self.ids = {name: codes.dtype.categories.to_series() for name, codes in alive.items()}
        self.kept = {name: np.ones(len(ids), dtype=bool) for name, ids in self.ids.items()}

    def rows(self) -> Iterator[np.ndarray]:
        """Some rows at a time, in the order of the file: those whose user and item are kept."""
        for rows in self._spool.rows():
            yield rows[self.kept["user"][rows["user"]] & self.kept["item"][rows["item"]]]

    def counts(self, of: Side) -> np.ndarray:
        """How many rows each user, or item, has; by code."""
        counts = np.zeros(len(self.ids[of]), dtype=np.int32)
        for rows in self.rows():
            np.add.at(counts, rows[of], 1)
        return counts

    def present(self, of: Side) -> pl.Series:
        """The ids of the users, or items, that have rows."""
        return self.ids[of].filter(pl.Series(self.counts(of) > 0))

    def keep_items(self, items: pl.DataFrame, untitled: pl.Series) -> dict[str, int]:
        """Keep the rows of `items`. Returns how many are left out, because the item has no title or is unknown."""
        counts = self.counts("item")
        known, no_title = (self.ids["item"].is_in(ids.implode()).to_numpy() for ids in (items["item_id"], untitled))
        self.kept["item"] = known
        without = int(counts[no_title].sum())
        return {
            "interactions_item_without_title": without,
            "interactions_unknown_item": int(counts[~known].sum()) - without,
        }

    def by_user(self, numbers: dict[Side, np.ndarray]) -> Iterator[pl.DataFrame]:
        """Yield user, item (i32, by the `numbers` of their codes) and timestamp: all rows of the first users, then of
        those after them, some SORT_ROWS at a time, each part in the order of the file.
        """
        users, counts = numbers["user"], self.counts("user")
        sizes = np.zeros(users.max() + 1, dtype=np.int64)
        sizes[users[users >= 0]] = counts[users >= 0]
        part_of = (np.cumsum(sizes) - 1) // SORT_ROWS
        parts = [Spool(self.folder) for _ in range(part_of[-1] + 1)]
        for rows in self.rows():
            for name, of_code in numbers.items():
                rows[name] = of_code[rows[name]]
            part = part_of[rows["user"]]
            for index in np.unique(part):
                parts[index].add(rows[part == index])
        while parts:
            rows = parts.pop(0).all_rows()
            if len(rows):  # none: a user has more rows than a part
                yield pl.DataFrame({name: rows[name] for name in ROW.names})
