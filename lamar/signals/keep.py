"""Which answers are kept as signals, and why the others are not: rules for one signal, then for all signals together.

What is not kept leaves its item with its own attributes (lamar/text/items.py), never with an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from lamar.params import SignalRules
from lamar.signals.copies import copies
from lamar.signals.parse import clean
from lamar.signals.prompt import Prompt
from lamar.signals.rules import Candidate, brands_of, context_of, problem
from lamar.signals.similarity import chance, encode

SCHEMA = {"item_id": pl.String, "name": pl.String, "signal": pl.String, "kept": pl.Boolean, "reason": pl.String}
Rule = Callable[[list[str], np.ndarray, np.ndarray, SignalRules], Iterator[int]]


def judged(
    answers: pl.DataFrame, items: pl.DataFrame, attributes: list[str], prompt: Prompt, rules: SignalRules, encoder: Path
) -> pl.DataFrame:
    """The signals (SCHEMA) of `answers` (item_id, text, finish_reason) about `items` (item_id and the attributes).

    `encoder`: the folder of the sentence encoder. Raises LamarError when it is not there.
    """
    texts = {row[0]: ", ".join(filter(None, row[1:])) for row in items.select("item_id", *attributes).iter_rows()}
    signals = [clean(text, prompt.signal) for text in answers["text"]]
    owners = [texts[item_id] for item_id in answers["item_id"]]
    context = context_of(rules, prompt, brands_of(items, attributes, rules), signals)
    candidates = map(Candidate, signals, owners, answers["finish_reason"])
    reasons = [problem(candidate, context) or "" for candidate in candidates]
    for place, reason in _together(signals, owners, reasons, rules, encoder).items():
        reasons[place] = reason
    kept = [not reason for reason in reasons]
    columns = (answers["item_id"], [prompt.signal] * len(signals), signals, kept, reasons)
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)


def _together(
    signals: list[str], owners: list[str], reasons: list[str], rules: SignalRules, encoder: Path
) -> dict[int, str]:
    """What is wrong, by place, with signals that are right by themselves: a rule reads what the one before it left."""
    left = [place for place, reason in enumerate(reasons) if not reason]
    if not left:
        return {}
    vectors = encode([*(signals[place] for place in left), *(owners[place] for place in left)], encoder)
    said, about = vectors[: len(left)], vectors[len(left) :]
    wrong: dict[int, str] = {}
    for reason, rule in RULES.items():
        rows = [row for row, place in enumerate(left) if place not in wrong]
        found = rule([signals[left[row]] for row in rows], said[rows], about[rows], rules)
        wrong |= {left[rows[row]]: reason for row in found}
    return wrong


def contradictions(_: list[str], said: np.ndarray, about: np.ndarray, rules: SignalRules) -> Iterator[int]:
    """Signals that fit their item worse than a `rules.contradiction` share of chance pairs of signal and item."""
    least = chance(said, about, rules.contradiction)
    yield from np.flatnonzero((said * about).sum(1) < least).tolist()


def formulas(signals: list[str], _: np.ndarray, about: np.ndarray, rules: SignalRules) -> Iterator[int]:
    """Signals whose words more than `rules.max_shared` items share though these items are not alike.

    Items of one kind rightly share a signal (bearing balls of ten sizes). Alike: an item's mean similarity to the
    others is at least what a `rules.alike` share of chance pairs of items stays below.
    """
    least = chance(about, about, rules.alike)
    for members, sharing in copies(signals, rules.copy_similarity):
        if len(sharing) > rules.max_shared:
            others = about[members] @ about[sharing].sum(0) - 1  # less the similarity of an item to itself
            yield from np.array(members)[others / (len(sharing) - 1) < least].tolist()


RULES: dict[str, Rule] = {"contradicts the item": contradictions, "says the same of unlike items": formulas}
