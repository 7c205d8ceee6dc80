from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from catalogues import Prepared, make_dataset

from lamar.data.table import seconds
from lamar.errors import LamarError

ITEMS = [
    {"sku": "7", "name": "Red  mug", "tags": "kitchen", "year": 1999},
    {"sku": "8", "name": "Blue\nmug", "tags": None, "year": 2001},
    {"sku": "9", "name": "Tea", "tags": "drink", "year": 2003},
    {"sku": "10", "name": "", "tags": "drink", "year": 2003},
]
BUYS = [
    {"who": user, "sku": sku, "at": f"2020-01-0{day}"}
    for user in ("ann", "bob")
    for day, sku in ((3, "7"), (1, "8"), (2, "9"), (4, "10"), (5, "404"))
]


def own(suffix: str, **changes: Any) -> Any:
    fields = {
        "reader": "table",
        "attributes": ["name", "tags", "year"],
        "items": f"shop/items{suffix}",
        "interactions": f"shop/buys{suffix}",
        "columns": {"item": "sku", "user": "who", "timestamp": "at"},
        "sources": [],
    }
    return make_dataset(**(fields | changes))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows)
    writers = {
        ".csv": lambda: frame.write_csv(path),
        ".tsv": lambda: frame.write_csv(path, separator="\t"),
        ".jsonl": lambda: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
        ".parquet": lambda: frame.write_parquet(path),
    }
    writers[path.suffix]()


def folder_of(tmp_path: Path, suffix: str, items: list[dict[str, Any]], buys: list[dict[str, Any]]) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder / f"items{suffix}", items)
    write(folder / f"buys{suffix}", buys)
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same(suffix: str, tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    result = prepared(folder_of(tmp_path, suffix, ITEMS, BUYS), own(suffix))
    assert result.items.columns == ["item", "item_id", "name", "tags", "year"]
    assert result.items.rows() == [
        (0, "7", "Red mug", "kitchen", "1999"),
        (1, "8", "Blue mug", "", "2001"),
        (2, "9", "Tea", "drink", "2003"),
    ]
    assert result.interactions.filter(user=0)["item"].to_list() == [1, 2, 0]
    assert result.interactions["timestamp"][0] == 1577836800
    assert result.statistics["dropped"]["interactions_unknown_item"] == 2
    assert result.statistics["dropped"]["interactions_item_without_title"] == 2


def test_lists_and_description(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    items = [{**item, "tags": ["a", "b"], "description": "Long text."} for item in ITEMS]
    result = prepared(folder_of(tmp_path, ".jsonl", items, BUYS), own(".jsonl"))
    assert result.items.row(0) == (0, "7", "Red mug", "a, b", "1999", "Long text.")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_missing_column(suffix: str, tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    dataset = own(suffix, attributes=["name", "colour"])
    with pytest.raises(LamarError, match=rf"items\{suffix}: no column 'colour'; it has sku, name, tags, year: set "):
        prepared(folder_of(tmp_path, suffix, ITEMS, BUYS), dataset)


def test_a_duplicate_item(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    with pytest.raises(LamarError, match=r"items\.csv: item id '8' is there more than once"):
        prepared(folder_of(tmp_path, ".csv", [*ITEMS, ITEMS[1]], BUYS), own(".csv"))


def test_rows_that_cannot_be_used(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    folder = folder_of(tmp_path, ".csv", ITEMS, BUYS)
    with (folder / "buys.csv").open("a") as file:
        file.write("ann,7,someday\nann,7\n,7,2020-01-01\n")
    with pytest.raises(LamarError, match=r"buys\.csv:12: no usable who, sku, at; 3 of 13 lines are malformed"):
        prepared(folder, own(".csv"))
    result = prepared(folder, own(".csv"), max_malformed=0.5)
    assert result.statistics["malformed"] == {"no usable who, sku, at": 2, "not 3 fields": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.csv", b"", r"items\.csv: no rows; fill it"),
        ("items.csv", b"sku,name,tags,year\n", r"items\.csv: no rows; fill it"),
        ("items.csv", b"sku,name,tags,year\n1,caf\xe9,,\n", r"items\.csv: not UTF-8; save it as UTF-8"),
        ("items.csv", b'sku,name,tags,year\n1,"' + b"x" * 200_000, r"items\.csv:\d+: not valid CSV .*quotation mark"),
        ("items.parquet", b"PAR1 nothing", r"items\.parquet: not a readable parquet file .*; write it again"),
        ("items.xlsx", b"PK", r"items\.xlsx: unknown format; use \.csv, \.tsv, \.jsonl, \.parquet"),
    ],
)
def test_unreadable_files(
    name: str, content: bytes, message: str, tmp_path: Path, prepared: Callable[..., Prepared]
) -> None:
    folder = folder_of(tmp_path, ".csv", ITEMS, BUYS)
    (folder / name).write_bytes(content)
    with pytest.raises(LamarError, match=message) as raised:
        prepared(folder, own(".csv", items=f"shop/{name}"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1577836800, 1577836800),
        ("1577836800", 1577836800),
        ("1577836800.9", 1577836800),
        (-0.5, -1),
        ("1600000000123456789", 1600000000123456789),
        ("2020-01-01", 1577836800),
        ("2020-01-01T01:00:00+01:00", 1577836800),
        ("2020-01-01 00:00:00Z", 1577836800),
        (date(2020, 1, 1), 1577836800),
        (datetime(2020, 1, 1), 1577836800),
        (datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1577836800),
        (datetime(2020, 1, 1, tzinfo=UTC), 1577836800),
        ("", None),
        (None, None),
        (float("nan"), None),
        ("inf", None),
        ("soon", None),
        (1 << 70, None),
    ],
)
def test_seconds(value: Any, expected: int | None) -> None:
    assert seconds(value) == expected
