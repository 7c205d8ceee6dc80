"""Vectors of signals and of the texts they were written for, by a sentence encoder (paper, section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lamar.engine import Engine, here
from lamar.signals.similarity import encode


def embeddings(
    signals: pl.DataFrame,
    items: pl.DataFrame,
    attributes: Sequence[str],
    encoder: Path,
    pooling: str,
    engine: Engine = here,
) -> pl.DataFrame:
    """One row for each kept signal, by item_id: item_id, signal and item (unit vectors of the signal, of the item).

    signals: as the stage `signals` writes them; items: prepared items, whose attributes are joined to one text;
    encoder: a folder with config, weights and tokenizer, and how it pools (`encode`).
    """
    own = pl.concat_str(attributes, separator=". ", ignore_nulls=True)
    kept = signals.filter("kept").join(items.select("item_id", own=own), on="item_id").sort("item_id")
    vectors = encode([*kept["signal"], *kept["own"]], encoder, pooling, engine)
    shape = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame(
        {"item_id": kept["item_id"], "signal": vectors[: kept.height], "item": vectors[kept.height :]},
        schema={"item_id": pl.String, "signal": shape, "item": shape},
    )
