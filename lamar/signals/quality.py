"""Numbers about a generator's signals: how many were kept, how long they are, how much they add to the item's text."""

from __future__ import annotations

import re
from collections import Counter

import polars as pl

WORD = re.compile(r"\w+")
ASKED_WORDS = range(10, 31)  # the prompt asks for 10 to 30 words (paper, Figure 5)


def quality(signals: pl.DataFrame, items: pl.DataFrame, attributes: list[str]) -> dict[str, object]:
    """Summarise signals (columns item_id, signal, kept, reason) of `items` (item_id and the attributes).

    Shares are of kept signals, `kept_share` is of all items. `new_words_share` is the mean share of a signal's
    distinct words that the item's own text does not have.
    """
    joined = signals.join(items.select("item_id", *attributes), on="item_id", how="left", maintain_order="left")
    kept = joined.filter("kept")
    texts = kept["signal"].to_list()
    own = [" ".join(filter(None, row)) for row in kept.select(attributes).iter_rows()]
    lengths = [len(text.split()) for text in texts]
    return {
        "items": joined.height,
        "kept": kept.height,
        "kept_share": _round(kept.height / joined.height),
        "dropped": dict(sorted(Counter(signals.filter(~pl.col("kept"))["reason"]).items())),
        "words_mean": _mean(lengths),
        "asked_length_share": _mean([length in ASKED_WORDS for length in lengths]),
        "distinct_share": _round(len(set(texts)) / max(len(texts), 1)),
        "new_words_share": _mean([_new_words(text, item) for text, item in zip(texts, own, strict=True)]),
    }


def _new_words(signal: str, item: str) -> float:
    words, known = (set(WORD.findall(text.casefold())) for text in (signal, item))
    return len(words - known) / max(len(words), 1)


def _mean(values: list[float] | list[int] | list[bool]) -> float:
    return _round(sum(values) / max(len(values), 1))


def _round(value: float) -> float:
    return round(value, 4)
