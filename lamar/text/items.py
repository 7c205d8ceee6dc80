"""What a model reads of an item: key-value text, the item's own attributes first, then its signals (Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Signals:
    """One generator's signals: `name` ("Primary Use Case") and the kept texts by item_id."""

    name: str
    texts: dict[str, str]


def read_signals(path: str) -> Signals:
    """Signals that were kept, from the table that the signals stage wrote."""
    table = pl.read_parquet(path)
    return Signals(table["name"][0], dict(table.filter("kept").select("item_id", "signal").iter_rows()))


def enriched(items: pl.DataFrame, attributes: list[str], signals: list[Signals]) -> pl.DataFrame:
    """Columns: item, then one text column per attribute and signal, named by its key; '' where there is none.

    A second signal of the same name is told apart by its number ("Primary Use Case 2").
    """
    table = items.select("item", *attributes)
    for number, signal in enumerate(signals, start=1):
        name = signal.name if signal.name not in table.columns else f"{signal.name} {number}"
        texts = [signal.texts.get(item_id, "") for item_id in items["item_id"]]
        table = table.with_columns(pl.Series(name, texts, dtype=pl.String))
    return table
