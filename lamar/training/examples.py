"""Training examples: what a user chose from a random position on is the target, what lies before it the history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

NO_ITEM = -1


@dataclass(frozen=True)
class Split:
    """Histories (items, oldest first) and the target (users,) each is ranked on."""

    histories: list[np.ndarray]
    targets: np.ndarray


@dataclass(frozen=True)
class Users:
    """What there is to learn from and to rank: `train` sequences, and the validation and test splits."""

    ids: np.ndarray
    train: list[np.ndarray]
    validation: Split
    test: Split


def read_users(path: str) -> Users:
    """Read histories.parquet. Validation ranks on the training sequence, test on it and the validation item."""
    table = pl.read_parquet(path)
    train = [np.array(items, np.int64) for items in table["train"].to_list()]
    validation = table["validation"].to_numpy().astype(np.int64)
    test = table["test"].to_numpy().astype(np.int64)
    longer = [np.append(items, item) for items, item in zip(train, validation, strict=True)]
    return Users(table["user"].to_numpy(), train, Split(train, validation), Split(longer, test))


@dataclass(frozen=True)
class Sequences:
    """What the stages sequences and encode wrote for a run; `vectors`: float32 (items, width) of the texts, by kind."""

    users: Users
    items: pl.DataFrame
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def test(self) -> Split:
        """What is ranked in the end, among all items."""
        return self.users.test

    @property
    def ids(self) -> np.ndarray:
        """The users of `test`, (users,)."""
        return self.users.ids

    @property
    def targets(self) -> np.ndarray:
        """Their next items, (users,)."""
        return self.users.test.targets


def read_sequences(dataset: str, run: str) -> Sequences:
    """What the stages sequences and encode wrote for a run."""
    folder = Path("data/sequences", dataset, run)
    encoded = sorted(Path("data/encoded", dataset, run).glob("*.parquet"))
    return Sequences(
        read_users(str(folder / "histories.parquet")),
        pl.read_parquet(folder / "items.parquet"),
        {path.stem: pl.read_parquet(path)["vector"].to_numpy().copy() for path in encoded},
    )


@dataclass(frozen=True)
class Examples:
    """Training examples: histories (items, oldest first), and the items that follow each, (examples, next items).

    Where a training sequence ends, its row goes on with NO_ITEM; the first item of a row is always one.
    """

    histories: list[np.ndarray]
    targets: np.ndarray


def draw(train: list[np.ndarray], per_user: int, next_items: int, rng: np.random.Generator) -> Examples:
    """`per_user` examples of every user: the `next_items` items from a uniform position on, and what lies before it.

    The history may be empty (recformer-notes item 12).
    """
    users = np.repeat(np.arange(len(train)), per_user)
    positions = rng.integers([len(train[user]) for user in users])
    places = list(zip(users, positions, strict=True))
    targets = np.full((len(users), next_items), NO_ITEM)
    for row, (user, position) in enumerate(places):
        following = train[user][position : position + next_items]
        targets[row, : len(following)] = following
    return Examples([train[user][:position] for user, position in places], targets)
