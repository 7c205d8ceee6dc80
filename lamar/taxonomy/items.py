"""Items in a question: texts that anybody may have written, in lines that nothing in them can end."""

from __future__ import annotations

import polars as pl

from lamar.signals.prompt import as_data


def texts(items: pl.DataFrame, words: int) -> list[dict[str, str]]:
    """Attribute (or signal) -> text of every item, each cut after `words` words; empty ones are left out.

    items: the columns of the stage `sequences`, the first being the item.
    """
    rows = items.drop("item").iter_rows(named=True)
    cut = ({name: " ".join(as_data(text).split()[:words]) for name, text in row.items()} for row in rows)
    return [{name: text for name, text in row.items() if text} for row in cut]
