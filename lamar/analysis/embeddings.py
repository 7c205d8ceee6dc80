"""Vectors of signals and of the texts they were written for, by a sentence-transformers model (paper, section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

BATCH = 64  # texts; they are short, and sentence-transformers sorts them by length


def embed(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors (texts, dimensions), float32, by the encoder in `folder` (config, weights, tokenizer).

    Mean over tokens, then length 1: so all-MiniLM-L6-v2, all-mpnet-base-v2 and multi-qa-mpnet-base-cos-v1 are made.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    words = Transformer(str(folder))
    pooling = Pooling(words.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[words, pooling, Normalize()])
    return model.encode(list(texts), batch_size=BATCH, show_progress_bar=True).astype(np.float32)


def embeddings(signals: pl.DataFrame, items: pl.DataFrame, attributes: Sequence[str], folder: Path) -> pl.DataFrame:
    """One row for each kept signal, by item_id: item_id, signal and item (vectors of the signal, of the item's text).

    signals: as the stage `signals` writes them; items: prepared items, whose attributes are joined to one text.
    """
    own = pl.concat_str(attributes, separator=". ", ignore_nulls=True)
    kept = signals.filter("kept").join(items.select("item_id", own=own), on="item_id").sort("item_id")
    vectors = embed(folder, [*kept["signal"], *kept["own"]])
    shape = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame(
        {"item_id": kept["item_id"], "signal": vectors[: kept.height], "item": vectors[kept.height :]},
        schema={"item_id": pl.String, "signal": shape, "item": shape},
    )


def novelty(vectors: pl.DataFrame) -> np.ndarray:
    """Cosine distance between each signal and its item's own text, (rows of `embeddings`,): 0 repeats it."""
    signal, item = (vectors[name].to_numpy() for name in ("signal", "item"))
    return 1 - (signal * item).sum(axis=1)
