"""What was read of all items as a table, and counted."""

from __future__ import annotations

import polars as pl
from taxonomist import TAXONOMY

from lamar.taxonomy import values
from lamar.taxonomy.reading import Reading


def test_what_was_read_is_a_table_and_is_counted():
    found = [
        Reading({"Genre": "Drama", "Pace": "Slow"}, outside=1),
        Reading({"Genre": "Drama", "Pace": "Slow"}, outside=0),
        Reading({}, outside=1),
    ]
    table = values.table(pl.Series("item", [4, 5, 6]), found, TAXONOMY)
    assert table.columns == ["item", *TAXONOMY.features]
    assert table.rows()[0] == (4, "Drama", None, None, None, "Slow")
    assert table.rows()[2] == (6, *[None] * 5)
    counts = values.counts(found, TAXONOMY)
    assert counts.pop("by_feature") == {
        "Genre": {"Drama": 2, "Comedy": 0, "Horror": 0},
        "Mood": {"Dark": 0, "Light": 0},
        "Era": {"1970s": 0, "1980s": 0, "1990s": 0},
        "Audience": {"Families": 0, "Adults": 0},
        "Pace": {"Slow": 2, "Fast": 0},
    }
    assert counts == {"answers": 3, "without_values": 1, "values": 4, "outside": 2, "combinations": 2}
