"""What a prepared dataset looks like, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from lamar.data.raw import Tally


def statistics(items: pl.DataFrame, interactions: pl.DataFrame, split: pl.DataFrame) -> dict[str, Any]:
    """Sizes, sequence lengths, density, share of non-empty texts, repeated pairs and ties, of prepared tables.

    Density counts repeated pairs; `last_pairs_tied` are users whose last two interactions have the same timestamp,
    so that the order of validation and test item is a choice and not a fact.
    """
    lengths = split["train"] + 2
    tied = _last_pairs_tied(interactions)
    return {
        "users": split.height,
        "items": items.height,
        "interactions": interactions.height,
        "length_min": lengths.min(),
        "length_median": lengths.median(),
        "length_mean": round(lengths.mean(), 4),
        "length_max": lengths.max(),
        "density": round(interactions.height / (split.height * items.height), 8),
        "repeated_pairs": interactions.height - _different_items(interactions),
        "last_pairs_tied": tied,
        "last_pairs_tied_share": round(tied / split.height, 4),
        "users_confirm": split.filter(pl.col("fold") == "confirm").height,
        "coverage": {name: round((items[name] != "").mean(), 4) for name in items.columns[2:]},
    }


def _different_items(interactions: pl.DataFrame) -> int:
    """Of every user, together; user by user, because all pairs at once take several times the memory of the table."""
    return interactions.group_by("user").agg(pl.col("item").n_unique())["item"].sum()


def _last_pairs_tied(interactions: pl.DataFrame) -> int:
    last_two = pl.col("timestamp").get(-1) == pl.col("timestamp").get(-2)
    return interactions.group_by("user").agg(tied=last_two)["tied"].sum()


def malformed(tallies: list[Tally]) -> dict[str, int]:
    """How many lines of the raw files could not be used, by reason."""
    total: Counter[str] = Counter()
    for tally in tallies:
        total.update(tally.reasons)
    return dict(sorted(total.items()))
