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


def sampled(users: pl.Series, keep: float, seed: int) -> np.ndarray:
    """Which users, by their ids, are in a seeded share `keep` of them."""
    return (share("sample", seed, users) < keep).to_numpy() if keep < 1 else np.ones(len(users), dtype=bool)


def numbered(ids: pl.Series, kept: np.ndarray) -> tuple[pl.Series, np.ndarray]:
    """Number the ids that are `kept` from 0, in their order.

    Returns them in that order, and the number (i32) of each of `ids`, -1 where it is not kept.
    """
    codes = np.flatnonzero(kept)
    codes = codes[ids.gather(codes).arg_sort().to_numpy()]
    numbers = np.full(len(ids), -1, dtype=np.int32)
    numbers[codes] = np.arange(len(codes))
    return ids.gather(codes), numbers


def ordered(
    interactions: pl.DataFrame, users: pl.Series, items: pl.Series, ties: Literal["file", "shuffle"], seed: int
) -> pl.DataFrame:
    """Sort by user, then time, and add `position` (i32, from 0 within the user).

    interactions: user, item (i32), timestamp; users, items: the ids by these numbers. Equal times stay as in the file,
    or are shuffled by a seed, whatever the file's order.
    """
    if ties == "file":
        sorted_ = interactions.sort("user", "timestamp", maintain_order=True)
    else:
        pairs = users.gather(interactions["user"]) + "\t" + items.gather(interactions["item"])
        shuffled = interactions.with_columns(share("ties", seed, pairs).alias("tie"))
        sorted_ = shuffled.sort("user", "timestamp", "tie", "item").drop("tie")
    return sorted_.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("user"))


def leave_one_out(interactions: pl.DataFrame, users: pl.Series, confirm_share: float, seed: int) -> pl.DataFrame:
    """One row per user: user, user_id, train (number of training interactions), validation and test (items), fold.

    `interactions` as `ordered` gives them, at least 3 per user; `users`: ids by their numbers.
    """
    ends = interactions.group_by("user", maintain_order=True).agg(
        train=(pl.len() - 2).cast(pl.Int32),
        validation=pl.col("item").get(-2),
        test=pl.col("item").get(-1),
    )
    ids = users.gather(ends["user"]).alias("user_id")
    confirm = pl.when(share("fold", seed, ids) < confirm_share)
    return ends.insert_column(1, ids).with_columns(fold=confirm.then(pl.lit("confirm")).otherwise(pl.lit("explore")))
