"""Every item of the catalogue is ranked by how many values it shares with what a user would like: 0 to 5.

So few scores leave many items alike: their order is chance, and the metrics take its expectation (contract of ranks).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lamar import console
from lamar.evaluation.ranks import SCHEMA, rank_scores
from lamar.taxonomy.taxonomy import Taxonomy

NONE = -1  # an item or a user without a value: it is like no other, not even like another without
BLOCK = 1 << 25  # scores held at once, a byte each


def codes(values: pl.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """The place of each value in its feature's list, NONE for null: (rows, features) int16.

    values: a column of values for every feature, as `lamar.taxonomy.values.table` makes it.
    """
    columns = [
        values[name].replace_strict(list(listed), range(len(listed)), default=NONE, return_dtype=pl.Int16).to_numpy()
        for name, listed in taxonomy.features.items()
    ]
    return np.stack(columns, axis=1)


def overlaps(liked: np.ndarray, items: np.ndarray) -> np.ndarray:
    """How many features have the same value: (users, items) int8, from codes (users, features), (items, features)."""
    counts = np.zeros((len(liked), len(items)), np.int8)
    for theirs, own in zip(liked.T, items.T, strict=True):
        counts += (theirs[:, None] == own) & (own != NONE)
    return counts


def ranked(liked: np.ndarray, items: np.ndarray, users: np.ndarray, targets: np.ndarray, seed: int) -> pl.DataFrame:
    """The ranks table (user, item, ...) of one seed, over the whole catalogue.

    liked, items: what `codes` gives; users, targets: (users,), those of the rows of `liked` and the items to be found.
    """
    greater, equal = np.empty((2, len(users)), np.int32)
    with console.progress() as bar:
        task = bar.add_task("ranking", total=len(users), note="")
        for rows in np.array_split(np.arange(len(users)), -(-len(users) * len(items) // BLOCK)):
            greater[rows], equal[rows] = rank_scores(overlaps(liked[rows], items), targets[rows])
            bar.advance(task, len(rows))
    columns = (users, targets, seed, greater, equal, len(items))
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True))).cast(SCHEMA)
