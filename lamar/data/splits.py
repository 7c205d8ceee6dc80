"""Order within a user, and leave-one-out: the last interaction tests, the last but one validates."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import polars as pl


def share(purpose: str, seed: int, names: pl.Series) -> pl.Series:
    """A number in [0, 1) for each name that depends on nothing but purpose, seed and name.

    Cutting at 0.2 keeps a fifth; sorting by it shuffles. Unlike polars' own hash it is the same in every version.
    """
    prefix = f"{purpose}:{seed}:"
    digests = [blake2b((prefix + name).encode(), digest_size=6).digest() for name in names]
    return pl.Series(names.name, [int.from_bytes(digest) / 2**48 for digest in digests], dtype=pl.Float64)


def sampled(interactions: pl.DataFrame, keep: float, seed: int) -> pl.DataFrame:
    """The interactions of a seeded share `keep` of the users."""
    if keep == 1:
        return interactions
    users = interactions["user_id"].unique()
    kept = users.filter(share("sample", seed, users) < keep)
    return interactions.filter(pl.col("user_id").is_in(kept.implode()))


def ordered(interactions: pl.DataFrame, ties: Literal["file", "shuffle"], seed: int) -> pl.DataFrame:
    """Sort by user, then time; equal times stay as in the file or are shuffled by a seed, whatever the file's order."""
    if ties == "file":
        return interactions.sort("user_id", "timestamp", maintain_order=True)
    pairs = interactions.select(pl.concat_str("user_id", "item_id", separator="\t")).to_series()
    shuffled = interactions.with_columns(share("ties", seed, pairs).alias("tie"))
    return shuffled.sort("user_id", "timestamp", "tie", "item_id").drop("tie")


def numbered(interactions: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number users and items from 0 in the order of their ids.

    `interactions` are ordered (see `ordered`). Returns interactions (user, item, position i32; user_id, timestamp)
    and items (item i32, item_id, attributes...).
    """
    items = items.sort("item_id").with_row_index("item").with_columns(pl.col("item").cast(pl.Int32))
    rows = interactions.join(items.select("item_id", "item"), on="item_id", how="left", maintain_order="left")
    rows = rows.with_columns(
        user=(pl.col("user_id").rank("dense") - 1).cast(pl.Int32),
        position=pl.int_range(pl.len(), dtype=pl.Int32).over("user_id"),
    )
    return rows.select("user", "item", "timestamp", "position", "user_id"), items


def leave_one_out(interactions: pl.DataFrame, confirm_share: float, seed: int) -> pl.DataFrame:
    """One row per user: user, user_id, train (number of training interactions), validation and test (items), fold.

    `interactions` as `numbered` gives them, at least 3 per user.
    """
    users = interactions.group_by("user", maintain_order=True).agg(
        pl.col("user_id").first(),
        train=(pl.len() - 2).cast(pl.Int32),
        validation=pl.col("item").get(-2),
        test=pl.col("item").get(-1),
    )
    confirm = share("fold", seed, users["user_id"]) < confirm_share
    return users.with_columns(fold=pl.when(confirm).then(pl.lit("confirm")).otherwise(pl.lit("explore")))
