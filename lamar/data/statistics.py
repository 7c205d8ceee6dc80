"""What a prepared dataset looks like, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from lamar.data.raw import Tally


def statistics(items: pl.DataFrame, split: pl.DataFrame, found: Mapping[str, int]) -> dict[str, Any]:
    """Sizes, sequence lengths, density, share of non-empty texts, repeated pairs and ties, of prepared tables.

    found: the sum of `repeats_and_ties` of all interactions. Density counts repeated pairs; `last_pairs_tied` are users
    whose last two interactions have the same timestamp, so that the order of validation and test item is a choice and
    not a fact.
    """
    lengths = split["train"] + 2
    interactions = int(lengths.sum())
    return {
        "users": split.height,
        "items": items.height,
        "interactions": interactions,
        "length_min": lengths.min(),
        "length_median": lengths.median(),
        "length_mean": round(lengths.mean(), 4),
        "length_max": lengths.max(),
        "density": round(interactions / (split.height * items.height), 8),
        "repeated_pairs": found["repeated_pairs"],
        "last_pairs_tied": found["last_pairs_tied"],
        "last_pairs_tied_share": round(found["last_pairs_tied"] / split.height, 4),
        "users_confirm": split.filter(pl.col("fold") == "confirm").height,
        "coverage": {name: round((items[name] != "").mean(), 4) for name in items.columns[2:]},
    }


def repeats_and_ties(interactions: pl.DataFrame) -> dict[str, int]:
    """How often a user met an item again, and how many users' last two interactions are of the same time.

    `interactions` as prepared, all of some users.
    """
    # user by user, because all pairs at once take several times the memory of the table
    users = interactions.group_by("user").agg(
        different=pl.col("item").n_unique(),
        tied=pl.col("timestamp").get(-1) == pl.col("timestamp").get(-2),
    )
    return {
        "repeated_pairs": interactions.height - users["different"].sum(),
        "last_pairs_tied": users["tied"].sum(),
    }


def malformed(tallies: list[Tally]) -> dict[str, int]:
    """How many lines of the raw files could not be used, by reason."""
    total: Counter[str] = Counter()
    for tally in tallies:
        total.update(tally.reasons)
    return dict(sorted(total.items()))
