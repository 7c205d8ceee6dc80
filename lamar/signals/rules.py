"""Why a signal is not kept, as far as it and its own item tell (paper section 3.1: "filtered for quality").

Every rule was held against thousands of real answers before it was taken in: one that throws away good signals would be
worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any

import polars as pl

from lamar.params import SignalRules
from lamar.signals.prompt import Prompt

REFUSAL = re.compile(
    r"\b(as an ai|i(['’]m| am) (sorry|unable)|i (cannot|can['’]t)|language model)\b"
    r"|^no (\w+ ){1,5}(provided|available|specified|given)\b|^unknown( \w+)?[.,;]"
    r"|\bno (\w+ ){0,2}(information|details) (\w+ ){0,4}(provided|available|specified|given)\b",
    re.IGNORECASE,
)
MARKUP = re.compile(r"https?://|www\.|</?[a-z!][^<>]*>|<\|", re.IGNORECASE)
WORD = re.compile(r"\w+")
NUMBER = re.compile(  # a fraction, a whole or decimal number with or without thousands' commas, letters attached or not
    r"\d{1,20}/[1-9]\d{0,19}|(?:\d{1,3}(?:,\d{3})+|\d{1,20})(?:\.\d{1,20})?|\.\d{1,20}"
)
MIXED = re.compile(r"(\d{1,20})[- ](\d{1,20}/[1-9]\d{0,19})")  # 1-1/2
IDIOM = re.compile(  # ways of speaking, no claims about the item: always, wholly, in relief, a decade, the first
    r"\b24/7\b|\b100 ?(?:%|percent\b)|\b[23]-?D\b|\b(?:\d\d)?\d0['’]?s\b|\b\d*(?:1st|2nd|3rd|\dth)\b", re.IGNORECASE
)
LONGEST_BRAND = 4  # words


@dataclass(frozen=True)
class Candidate:
    """A cleaned answer and the item it is about: `item` is the text of all its attributes."""

    signal: str
    item: str
    finish_reason: str


@dataclass(frozen=True)
class Context:
    """What the rules know beside the candidate.

    phrases: every run of `rules.echo_words` words of the prompt. language: of the prompt's examples, '' when unsure.
    brands: those of the catalogue that are no words of everyday speech.
    """

    rules: SignalRules
    phrases: frozenset[tuple[str, ...]]
    language: str
    brands: frozenset[str]


def context_of(rules: SignalRules, prompt: Prompt, brands: Iterable[str], signals: Iterable[str]) -> Context:
    """What the rules need to know of a prompt and a catalogue.

    A brand that some signal uses as a word in lower case ("reach", "generic") is not told from that word: left out.
    """
    spoken = {word for signal in signals for word in WORD.findall(signal) if word.islower()}
    named = {brand for brand in brands if len(brand) > 2 and brand[0].isupper() and brand.casefold() not in spoken}
    told = " ".join(signal for _, signal in prompt.examples) or prompt.task
    return Context(
        rules=rules,
        phrases=frozenset(_runs(words(prompt.shared), rules.echo_words)),
        language=_language(told, rules.language_confidence),
        brands=frozenset(named),
    )


def brands_of(items: pl.DataFrame, attributes: Sequence[str], rules: SignalRules) -> list[str]:
    """The brands in a catalogue (item_id and the attributes), by whatever name its column has."""
    columns = [attribute for attribute in attributes if attribute.casefold() in rules.brand_attributes]
    return sorted({brand for column in columns for brand in items[column].drop_nulls()})


def problem(candidate: Candidate, context: Context) -> str | None:
    """The first rule that a candidate breaks; None when it breaks none."""
    return next((reason for reason, breaks in RULES.items() if breaks(candidate, context)), None)


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return WORD.findall(text.casefold())


def _foreign(candidate: Candidate, context: Context) -> bool:
    """Written in another language than the prompt's examples, beyond doubt."""
    found = _language(candidate.signal, context.rules.language_confidence)
    return bool(context.language and found) and found != context.language


def _repeats_the_prompt(candidate: Candidate, context: Context) -> bool:
    """A long run of words of the instruction or of the examples."""
    return any(run in context.phrases for run in _runs(words(candidate.signal), context.rules.echo_words))


def _repeats_the_metadata(candidate: Candidate, context: Context) -> bool:
    """No word that the item's own text does not have, or few words around one passage of it."""
    said, known = words(candidate.signal), words(candidate.item)
    passage = ceil(context.rules.echo_share * len(said))
    return set(said) <= set(known) or not set(_runs(said, passage)).isdisjoint(_runs(known, passage))


def _number_of_its_own(candidate: Candidate, _: Context) -> bool:
    """A number that the item's text does not have, however either writes it."""
    item = candidate.item
    known = _numbers(item) | _numbers(item.replace("/", " ")) | {int(n) + Fraction(f) for n, f in MIXED.findall(item)}
    return not _numbers(IDIOM.sub(" ", candidate.signal)) <= known


def _numbers(text: str) -> set[Fraction]:
    return {Fraction(number.replace(",", "")) for number in NUMBER.findall(text)}


def _brand_of_another(candidate: Candidate, context: Context) -> bool:
    """A brand of the catalogue that the item's text does not name. At the start of a sentence any word is a capital."""
    known = candidate.item.casefold()
    for sentence in re.split(r"(?<=[.!?:;])\s+", candidate.signal):
        said = [word.strip('.,;:!?()"“”') for word in sentence.split()]
        for first in range(1, len(said)):
            for size in range(1, LONGEST_BRAND + 1):
                name = " ".join(said[first : first + size])
                if name in context.brands and name.casefold() not in known:
                    return True
    return False


RULES: dict[str, Callable[[Candidate, Context], bool]] = {
    "empty": lambda candidate, _: not candidate.signal,
    "truncated": lambda candidate, _: candidate.finish_reason == "length",
    "stopped by the provider": lambda candidate, _: candidate.finish_reason != "stop",
    "refusal": lambda candidate, _: bool(REFUSAL.search(candidate.signal)),
    "too short": lambda candidate, context: len(candidate.signal.split()) < context.rules.min_words,
    "too long": lambda candidate, context: len(candidate.signal.split()) > context.rules.max_words,
    "a link or markup": lambda candidate, _: bool(MARKUP.search(candidate.signal)),
    "another language": _foreign,
    "repeats the prompt": _repeats_the_prompt,
    "repeats the metadata": _repeats_the_metadata,
    "a number the item does not have": _number_of_its_own,
    "a brand the item does not have": _brand_of_another,
}


def _runs(said: list[str], length: int) -> Iterable[tuple[str, ...]]:
    return (tuple(said[start : start + length]) for start in range(len(said) - length + 1))


def _language(text: str, confidence: float) -> str:
    """ISO code of a text's language, '' when the identifier is less sure than `confidence`."""
    language, sure = _identifier().classify(text)
    return language if sure >= confidence else ""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
