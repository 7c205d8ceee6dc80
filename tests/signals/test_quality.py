from __future__ import annotations

import polars as pl

from lamar.signals.quality import quality

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["Red Saw", "Blue Lamp", "Old Drum", "Brush"],
        "brand": ["Acme", None, "", "Acme"],
    }
)
TEN = "Cuts wood, with a red saw: cuts and cuts again"  # 10 words, 8 distinct
SCHEMA = {"item_id": pl.String, "signal": pl.String, "kept": pl.Boolean, "reason": pl.String}


def signals(*rows: tuple[str, str, bool, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_by_hand() -> None:
    """New are 6 of TEN's 8 distinct words for the saw, all 8 for the drum, and 1 of 3 for the lamp."""
    asked = signals(
        ("c", TEN, True, ""), ("a", TEN, True, ""), ("b", "Blue, BLUE lamp lights", True, ""), ("d", "", False, "empty")
    )
    assert quality(asked, ITEMS, ["title", "brand"]) == {
        "items": 4,
        "kept": 3,
        "kept_share": 0.75,
        "dropped": {"empty": 1},
        "words_mean": 8.0,
        "asked_length_share": 0.6667,
        "distinct_share": 0.6667,
        "new_words_share": round((6 / 8 + 1 + 1 / 3) / 3, 4),
    }


def test_the_bounds_of_the_asked_length() -> None:
    lengths = {"a": 9, "b": 10, "c": 30, "d": 31}
    asked = signals(*((item, "word " * length, True, "") for item, length in lengths.items()))
    assert quality(asked, ITEMS, ["title"])["asked_length_share"] == 0.5


def test_nothing_kept() -> None:
    asked = signals(("a", "", False, "empty"), ("b", "No", False, "too short"), ("c", "", False, "empty"))
    summary = quality(asked, ITEMS, ["title"])
    assert summary["dropped"] == {"empty": 2, "too short": 1}
    assert summary["kept_share"] == summary["words_mean"] == summary["distinct_share"] == 0
