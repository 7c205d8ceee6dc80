"""What was read of all items, or of all users: a table of their values, and how much of it there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from lamar.taxonomy.reading import Reading
from lamar.taxonomy.taxonomy import Taxonomy


def table(ids: pl.Series, found: Sequence[Reading], taxonomy: Taxonomy) -> pl.DataFrame:
    """The ids (items or users), and one column of values for each feature; null where there is none."""
    columns = {name: [reading.values.get(name) for reading in found] for name in taxonomy.features}
    return pl.DataFrame({ids.name: ids} | columns, schema={ids.name: ids.dtype} | dict.fromkeys(columns, pl.String))


def counts(found: Sequence[Reading], taxonomy: Taxonomy) -> dict[str, Any]:
    """How much was read: answers without any value, values, what lay outside the taxonomy and was dropped.

    combinations: how many different ones there are (few: many ties); by_feature: how often each value was chosen.
    """
    chosen = {name: Counter(reading.values.get(name) for reading in found) for name in taxonomy.features}
    return {
        "answers": len(found),
        "without_values": sum(not reading.values for reading in found),
        "values": sum(len(reading.values) for reading in found),
        "outside": sum(reading.outside for reading in found),
        "combinations": len({tuple(sorted(reading.values.items())) for reading in found}),
        "by_feature": {
            name: {value: chosen[name][value] for value in values} for name, values in taxonomy.features.items()
        },
    }
