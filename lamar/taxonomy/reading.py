"""From an answer to one value for each feature: case, order, markdown and words around a value do not matter.

Only values of the taxonomy are read; what else is said is counted. No LLM is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lamar.taxonomy.taxonomy import Taxonomy, plain, says_nothing


@dataclass(frozen=True)
class Reading:
    """An answer: feature -> value, and for how many features it says something that is no value of theirs."""

    values: dict[str, str]
    outside: int


def read(text: str, taxonomy: Taxonomy) -> Reading:
    """What an answer says. Where it names no feature, a value that only one feature has speaks for itself."""
    said = _by_feature(text, taxonomy)
    if not said:
        return _nameless(text, taxonomy)
    chosen = {name: chosen_value(words, taxonomy.features[name]) for name, words in said.items()}
    values = {name: value for name, value in chosen.items() if value}
    return Reading(values, sum(name not in values and not says_nothing(words) for name, words in said.items()))


def chosen_value(text: str, values: Sequence[str]) -> str:
    """The value that a text names first, the longer of two at one place; '' when it names none, or the whole list."""
    known = {plain(value): value for value in values}
    longest_first = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    named = re.findall(rf"(?<!\S)(?:{longest_first})(?!\S)", plain(text)) if known else []
    whole_list = len(known) > 1 and set(named) == known.keys()
    return known[named[0]] if named and not whole_list else ""


def _by_feature(text: str, taxonomy: Taxonomy) -> dict[str, str]:
    """Feature -> what follows its first mention, up to the next feature."""
    names = {plain(name): name for name in taxonomy.features}
    longest_first = sorted(names, key=len, reverse=True)
    alternatives = "|".join("(" + r"[\W_]+".join(map(re.escape, name.split())) + ")" for name in longest_first)
    mentions = list(re.finditer(rf"(?<!\w)(?:{alternatives})\W{{0,4}}?(?:[:=]|\s[-–—]\s)", text, re.IGNORECASE))
    ends = [*(mention.start() for mention in mentions), len(text)][1:]
    said: dict[str, str] = {}
    for mention, end in zip(mentions, ends, strict=True):
        said.setdefault(names[longest_first[mention.lastindex - 1]], text[mention.end() : end])
    return said


def _nameless(text: str, taxonomy: Taxonomy) -> Reading:
    """Values alone ("Drama, dark, 1990s")."""
    owners = [plain(value) for values in taxonomy.features.values() for value in values]
    values = {}
    for name, listed in taxonomy.features.items():
        own = [value for value in listed if owners.count(plain(value)) == 1]
        if value := chosen_value(text, own):
            values[name] = value
    return Reading(values, int(not values and not says_nothing(text)))
