"""The LLM proposes a taxonomy of the domain: one question, and one more where the answer cannot be read.

No item stands in the question: the taxonomy is what the LLM knows of the domain (Liang et al. 2024), all features share
it, and no item's text can change how the others are classified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lamar.errors import LamarError
from lamar.llm.journal import Answer
from lamar.signals.parse import MARKDOWN
from lamar.signals.prompt import Messages, as_data
from lamar.taxonomy.taxonomy import FEATURES, Taxonomy, plain, says_nothing

# All lines are shown, with numbers: of a single one Qwen2.5-Coder-1.5B makes a taxonomy of one feature.
FORM = "\n".join(f"{number}. Name of the feature: value | value | value | value" for number in range(1, FEATURES + 1))
QUESTION = f"""\
Design a taxonomy of {{about}}, to find out what a user likes. It has exactly five features, and each feature has a \
closed list of 4 to 12 values. The features are about different things, and whoever knows {{about}} can tell an item's \
values from its {{attributes}}. A value has at most three words; it is no single item, and not "other" or "unknown". \
Answer with five lines and nothing else, one for each feature:
{FORM}"""
FALLBACK = f"""\
That cannot be used: {{problem}}. Answer again with exactly five lines and nothing else, one for each feature:
{FORM}"""

MOST_VALUES = 20  # of a feature: twelve are asked for, and a model that repeats itself would go on
LONGEST = 40  # characters of a name or a value
WORDS = 5  # of a name or a value: what is longer is a sentence
BULLET = re.compile(r"^\s*(?:[-*•]\s+|\d{1,2}[.)]\s+)*(?:feature\s*\d+\s*[:.)–-]\s*)?", re.IGNORECASE)
EDGES = " \t\"'`“”‘’[]{},.;"

Ask = Callable[[Sequence[Messages]], list[Answer]]
"""Asks all these chats and returns their answers in the same order."""


@dataclass(frozen=True)
class Proposal:
    """A taxonomy, and what was said to get it."""

    taxonomy: Taxonomy
    conversation: Messages


def propose(ask: Ask, about: str, attributes: Sequence[str]) -> Proposal:
    """The taxonomy of items that are `about` (say "musical instruments") and have these attributes.

    Raises LamarError when the second answer, too, has not five features with two values or more.
    """
    chat: Messages = ({"role": "user", "content": QUESTION.format(about=about, attributes=", ".join(attributes))},)
    features, chat = _answered(ask, chat)
    if len(features) < FEATURES:
        again = FALLBACK.format(problem=_problem(features))
        features, chat = _answered(ask, (*chat, {"role": "user", "content": again}))
    if len(features) < FEATURES:
        said = " ".join(chat[-1]["content"].split())[:80]
        raise LamarError(f"{said!r} is no taxonomy of {about}: {_problem(features)}; let another llm propose it")
    return Proposal(Taxonomy(features), chat)


def parse(text: str, whole: bool = True) -> dict[str, tuple[str, ...]]:
    """The first five features of an answer that have two values or more; names and values one line, without markdown.

    A feature is a line "name: values", its values there or on the lines below. `whole`: False for an answer that was
    cut off, whose last value is left out.
    """
    features: dict[str, list[str]] = {"": []}  # what stands under no name
    names = {"": ""}
    name = ""
    for line in map(as_data, MARKDOWN.sub("", text).splitlines()):
        before, colon, listed = BULLET.sub("", line).partition(":")
        if colon:
            label = _label(before)
            name = names.setdefault(plain(label), label)
        features.setdefault(name, []).extend(_values(listed if colon else line))
    if not whole:
        del features[name][-1:]
    kept = {name: _distinct(values) for name, values in features.items() if name not in ("", "item", "user")}
    return dict([(name, values) for name, values in kept.items() if len(values) > 1][:FEATURES])


def _answered(ask: Ask, chat: Messages) -> tuple[dict[str, tuple[str, ...]], Messages]:
    """What the answer to a chat proposes, and the chat with it."""
    (answer,) = ask([chat])
    return parse(answer.text, answer.finish_reason != "length"), (*chat, {"role": "assistant", "content": answer.text})


def _problem(features: dict[str, tuple[str, ...]]) -> str:
    return f"{len(features)} of {FEATURES} features have a name and a list of values"


def _values(listed: str) -> list[str]:
    separator = next((sign for sign in "|;," if sign in listed), "\n")
    return [_label(value) for value in listed.split(separator)]


def _label(text: str) -> str:
    """A name or a value without bullets, brackets and quotes; '' when it is none."""
    label = " ".join(BULLET.sub("", text).strip(EDGES).split())
    fits = len(label) <= LONGEST and len(label.split()) <= WORDS
    return label if fits and plain(label) else ""


def _distinct(values: list[str]) -> tuple[str, ...]:
    first = {plain(value): value for value in reversed(values) if not says_nothing(value)}
    return tuple(value for value in dict.fromkeys(values) if first.get(plain(value)) == value)[:MOST_VALUES]
