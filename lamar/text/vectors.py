"""Items as vectors: their texts by a sentence encoder, for models that read text as a whole rather than its words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from lamar.engine import Engine, here
from lamar.signals.similarity import encode

Words = Callable[[list[str], float, int], list[str]]
"""Texts, a share of words and a seed -> the texts that are encoded."""


def whole(texts: list[str], share: float, seed: int) -> list[str]:
    """The texts themselves."""
    return texts


def dropped(texts: list[str], share: float, seed: int) -> list[str]:
    """Texts without a random `share` of their words: an augmentation (UniSRec, section 2.2.2)."""
    rng = np.random.default_rng(seed)
    return [" ".join(word for word in text.split() if rng.random() >= share) for text in texts]


# By the name that a run's model asks for (lamar/params.py, `vectors`).
KINDS: dict[str, Words] = {"text": whole, "dropped": dropped}


def item_vectors(
    items: pl.DataFrame, kind: str, share: float, seed: int, encoder: Path, engine: Engine = here
) -> pl.DataFrame:
    """Columns: item, vector (float32, a unit vector), in the order of `items`, which `enriched` gives.

    An item's text is its attributes and signals without their keys; `kind` is one of KINDS, `share` and `seed` are of
    the words it drops. Raises LamarError when the folder `encoder` is not there.
    """
    joined = items.select(pl.concat_list(items.columns[1:]).list.eval(pl.element().filter(pl.element() != "")))
    texts = joined.to_series().list.join(". ").to_list()
    vectors = encode(KINDS[kind](texts, share, seed), encoder, engine=engine)
    shape = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame({"item": items["item"], "vector": vectors}, schema_overrides={"vector": shape})
