"""Histories and targets of every user: train, validation and test, from the prepared tables."""

from __future__ import annotations

import polars as pl


def histories(interactions: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """Columns: user, train (list of items, oldest first), validation, test (items), fold.

    Validation ranks on `train`; test ranks on `train` followed by the validation item (leave-one-out).
    """
    ordered = interactions.sort("user", "position").group_by("user", maintain_order=True).agg(pl.col("item"))
    joined = split.sort("user").join(ordered, on="user", how="left", maintain_order="left")
    return joined.select("user", pl.col("item").list.head(pl.col("train")).alias("train"), "validation", "test", "fold")
