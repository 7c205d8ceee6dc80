"""Controls: texts as long as the signals that lack one thing each, to see what it is that helps.

If the placebo or random words do as well as the signal, it is more tokens that help and not the meaning; if the item's
own description does, any text about the item helps and no LLM is needed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.text.items import Signals

Control = Callable[[Signals, pl.DataFrame, int], Signals]
"""Signals, the prepared items (item_id, attributes) and a seed -> what a model reads in the signals' place."""


def unchanged(signals: Signals, items: pl.DataFrame, seed: int) -> Signals:
    """The signals themselves."""
    return signals


def shuffled(signals: Signals, items: pl.DataFrame, seed: int) -> Signals:
    """The placebo: every item with a signal gets the signal of another such item.

    A rotation of a random order, so that no item keeps its own signal as long as there are two.
    """
    order = np.random.default_rng(seed).permutation(sorted(signals.texts)).tolist()
    others = order[1:] + order[:1]
    return Signals(signals.name, {item: signals.texts[other] for item, other in zip(order, others, strict=True)})


def random_words(signals: Signals, items: pl.DataFrame, seed: int) -> Signals:
    """As many words as the item's own signal has, drawn from the words of all signals, as often as these use them."""
    words = [word for item in sorted(signals.texts) for word in signals.texts[item].split()]
    rng = np.random.default_rng(seed)
    lengths = {item: len(signals.texts[item].split()) for item in sorted(signals.texts)}
    drawn = {item: rng.integers(len(words), size=length) for item, length in lengths.items()}
    return Signals(signals.name, {item: " ".join(words[place] for place in places) for item, places in drawn.items()})


def description(signals: Signals, items: pl.DataFrame, seed: int) -> Signals:
    """The beginning of the item's own description, as many words as its signal has (fewer where it is shorter).

    Raises LamarError when the items have no descriptions.
    """
    if "description" not in items.columns:
        raise LamarError("its items have no column 'description'; leave out the runs that read it")
    own = dict(items.select("item_id", "description").iter_rows())
    cut = {item: " ".join(own[item].split()[: len(text.split())]) for item, text in signals.texts.items()}
    return Signals("description", cut)


# By the name that `features` in params.yaml uses. The last leaves out the item's own attributes.
CONTROLS: dict[str, Control] = {
    "none": unchanged,
    "shuffled": shuffled,
    "random-words": random_words,
    "description": description,
    "signal-only": unchanged,
}
WITHOUT_ATTRIBUTES = {"signal-only"}
