"""Order within a user, and leave-one-out: the last interaction tests, the last but one validates."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import numpy as np
import polars as pl


def share(purpose: str, seed: int, names: pl.Series) -> pl.Series:
    """A number in [0, 1) for each name that depends on nothing but purpose, seed and name.

    Cutting at 0.2 keeps a fifth; sorting by it shuffles. Unlike polars' own hash it is the same in every version.
    """
    prefix = f"{purpose}:{seed}:"
    digests = (blake2b((prefix + name).encode(), digest_size=6).digest() for name in names)
    shares = (int.from_bytes(digest) / 2**48 for digest in digests)
    return pl.Series(names.name, np.fromiter(shares, dtype=np.float64, count=len(names)))


def sampled(interactions: pl.DataFrame, keep: float, seed: int) -> pl.DataFrame:
    """The interactions of a seeded share `keep` of the users."""
    if keep == 1:
        return interactions
    users = interactions["user_id"].unique()
    kept = users.filter(share("sample", seed, users) < keep)
    return interactions.filter(pl.col("user_id").is_in(kept.implode()))


def numbered(interactions: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """Number users and items from 0 in the order of their ids.

    Returns interactions (user, item i32; timestamp) in the order given, the ids of the users, and items (item i32,
    item_id, attributes...).
    """
    users = interactions["user_id"].unique().cast(pl.String).sort()
    items = items.sort("item_id").with_row_index("item").with_columns(pl.col("item").cast(pl.Int32))
    numbers = [  # an id among the sorted ones is its number, and there is no table to join
        pl.col(f"{name}_id").cast(pl.Enum(ids)).to_physical().cast(pl.Int32).alias(name)
        for name, ids in (("user", users), ("item", items["item_id"]))
    ]
    return interactions.select(*numbers, "timestamp"), users, items


def ordered(
    interactions: pl.DataFrame, users: pl.Series, items: pl.DataFrame, ties: Literal["file", "shuffle"], seed: int
) -> pl.DataFrame:
    """Sort by user, then time, and add `position` (i32, from 0 within the user).

    All as `numbered` gives them. Equal times stay as in the file, or are shuffled by a seed, whatever the file's order.
    """
    if ties == "file":
        sorted_ = interactions.sort("user", "timestamp", maintain_order=True)
    else:
        pairs = users.gather(interactions["user"]) + "\t" + items["item_id"].gather(interactions["item"])
        shuffled = interactions.with_columns(share("ties", seed, pairs).alias("tie"))
        sorted_ = shuffled.sort("user", "timestamp", "tie", "item").drop("tie")
    return sorted_.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("user"))


def leave_one_out(interactions: pl.DataFrame, users: pl.Series, confirm_share: float, seed: int) -> pl.DataFrame:
    """One row per user: user, user_id, train (number of training interactions), validation and test (items), fold.

    `interactions` as `ordered` gives them, at least 3 per user; `users` their ids.
    """
    ends = interactions.group_by("user", maintain_order=True).agg(
        train=(pl.len() - 2).cast(pl.Int32),
        validation=pl.col("item").get(-2),
        test=pl.col("item").get(-1),
    )
    confirm = pl.when(share("fold", seed, users) < confirm_share)
    return ends.insert_column(1, users.alias("user_id")).with_columns(
        fold=confirm.then(pl.lit("confirm")).otherwise(pl.lit("explore"))
    )
