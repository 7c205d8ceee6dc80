"""What a model reads of an item under its features."""

import polars as pl

from lamar.text.items import Signals, enriched, read_signals

ITEMS = pl.DataFrame(
    {"item": [0, 1, 2], "item_id": ["x", "y", "z"], "title": ["Saw", "Drill", "Glue"], "brand": ["B", "", "C"]}
)
USE = Signals("Primary Use Case", {"x": "cuts wood", "z": "joins paper"})


def test_attributes_come_first_and_signals_after():
    table = enriched(ITEMS, ["brand", "title"], [USE])
    assert table.columns == ["item", "brand", "title", "Primary Use Case"]
    assert table.rows() == [
        (0, "B", "Saw", "cuts wood"),
        (1, "", "Drill", ""),
        (2, "C", "Glue", "joins paper"),
    ]


def test_without_signals_the_attributes_alone():
    assert enriched(ITEMS, ["title"], []).rows() == [(0, "Saw"), (1, "Drill"), (2, "Glue")]


def test_a_second_signal_of_the_same_name_is_numbered():
    second = Signals("Primary Use Case", {"y": "makes holes"})
    table = enriched(ITEMS, ["title"], [USE, second, Signals("Mood", {}), second])
    assert table.columns[2:] == ["Primary Use Case", "Primary Use Case 2", "Mood", "Primary Use Case 4"]
    assert table["Primary Use Case 2"].to_list() == ["", "makes holes", ""]


def test_a_signal_called_like_an_attribute_keeps_both():
    table = enriched(ITEMS, ["title"], [Signals("title", {"x": "another"})])
    assert table.row(0) == (0, "Saw", "another")


def test_only_kept_signals_are_read(tmp_path):
    table = {"item_id": ["x", "y"], "name": "Mood", "signal": ["calm", "as an AI"], "kept": [True, False]}
    pl.DataFrame(table).write_parquet(tmp_path / "signals.parquet")
    assert read_signals(str(tmp_path / "signals.parquet")) == Signals("Mood", {"x": "calm"})


def test_without_its_attributes_an_item_is_its_signal():
    assert enriched(ITEMS, [], [USE]).columns == ["item", "Primary Use Case"]
