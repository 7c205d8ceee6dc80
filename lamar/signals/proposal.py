"""The signal of a dataset, as proposed or pinned: the prompt that asks for it, and how it was found."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.files import read_json, write_json
from lamar.llm.journal import Answer
from lamar.params import Dataset, Propose, SignalRules
from lamar.signals.copies import firsts
from lamar.signals.orders import gives_orders
from lamar.signals.parse import clean
from lamar.signals.prompt import Messages, Prompt, load_prompt
from lamar.signals.propose import STRATEGIES, Ask, Brief, Idea, listed, texts_of
from lamar.signals.quality import ASKED_WORDS
from lamar.signals.rules import Candidate, brands_of, context_of, problem, words

AUTO = "auto"  # as a dataset's `prompt`: nobody wrote one
DEFAULT = "auto-cot"  # the strategy where none is named


@dataclass(frozen=True)
class Proposal:
    """A prompt, the strategy that found its signal ("pinned": a person), why, and what was said to find it.

    answers: the keys of all that was asked, in that order.
    """

    strategy: str
    reasoning: str
    prompt: Prompt
    conversation: Messages
    answers: tuple[str, ...] = ()


def propose(
    ask: Ask,
    name: str,
    items: pl.DataFrame,
    dataset: Dataset,
    strategy: str | None,
    settings: Propose,
    rules: SignalRules,
) -> Proposal:
    """The proposal for the dataset `name` by `strategy`; None: its pinned prompt, or Auto-CoT where that is `auto`.

    items: item_id and the attributes. Nothing is asked for a pinned prompt. Raises LamarError when the dataset does not
    say what it is about, no item can be shown, the model names no feature, or none of its examples keeps the rules.
    """
    if dataset.prompt != AUTO and not strategy:
        return Proposal("pinned", "", load_prompt(dataset.prompt), ())
    brief = brief_of(name, items, dataset, settings)
    strategy = strategy or DEFAULT
    keys: list[str] = []

    def noted(chats: Sequence[Messages]) -> list[Answer]:
        said = ask(chats)
        keys.extend(answer.key for answer in said)
        return said

    idea = STRATEGIES[strategy](noted, brief)
    brands = brands_of(items, dataset.attributes, rules)
    prompt = written_prompt(noted, brief, idea, settings.examples, brands, rules)
    return Proposal(strategy, idea.reasoning, prompt, idea.conversation, tuple(keys))


def brief_of(name: str, items: pl.DataFrame, dataset: Dataset, settings: Propose) -> Brief:
    """What a signal of the dataset `name` is proposed for.

    Raises LamarError when the dataset does not say what it is about, or no item can be shown.
    """
    if not dataset.about:
        raise LamarError(
            f"params.yaml: datasets.{name}.about: missing; say what the items are, e.g. musical instruments"
        )
    drawn = _drawn(name, items, dataset.attributes, settings)
    pinned = "" if dataset.prompt == AUTO else load_prompt(dataset.prompt).signal
    return Brief(name, dataset.about, dataset.attributes, drawn, pinned)


def asking_for(brief: Brief, signal: str) -> Prompt:
    """The prompt for a signal, without examples yet."""
    texts = texts_of("answers")
    task = texts["task"].format(attributes=listed(brief.attributes), about=brief.about, signal=signal)
    return Prompt(signal, task, ())


def written_prompt(
    ask: Ask, brief: Brief, idea: Idea, examples: int, brands: Sequence[str], rules: SignalRules
) -> Prompt:
    """A prompt like those that come with the project: a task, and examples that the model itself writes.

    The examples are answers about `brief.items` whose first sentences keep the rules and the asked length (a small
    model that has seen no example writes a paragraph): those that repeat least of their item, because every answer
    about the catalogue takes after them, and no two that say nearly the same. `brands`: the catalogue's. Raises
    LamarError when there is none.
    """
    bare = asking_for(brief, idea.signal)
    answers = ask([bare.messages(item) for item in brief.items])
    signals = [opening(clean(answer.text, idea.signal), ASKED_WORDS[-1]) for answer in answers]
    context = context_of(rules, bare, brands, signals)
    good = []
    for item, answer, signal in zip(brief.items, answers, signals, strict=True):
        candidate = Candidate(signal, ", ".join(item.values()), answer.finish_reason)
        if len(signal.split()) in ASKED_WORDS and problem(candidate, context) is None:
            good.append((item, signal))
    if not good:
        raise LamarError(
            f"{brief.dataset}: none of {len(answers)} answers ({signals[0][:60]!r}, ...) can be an example of "
            f"{idea.signal}; pin a prompt: datasets.{brief.dataset}.prompt"
        )
    good.sort(key=lambda example: repeated(*example))
    chosen = firsts([signal for _, signal in good], rules.copy_similarity)[:examples]
    return replace(bare, examples=tuple(good[place] for place in chosen))


def repeated(item: Mapping[str, str], signal: str) -> float:
    """The share of a signal's words that its item's text has already."""
    known = set(words(", ".join(item.values())))
    said = words(signal)
    return sum(word in known for word in said) / len(said)


def opening(text: str, longest: int) -> str:
    """The sentences that a text begins with, as many as have `longest` words at most; '' where the first has more."""
    sentences = re.split(r"(?<=[.!?])\s+", text)
    lengths = accumulate(len(sentence.split()) for sentence in sentences)
    return " ".join(sentence for sentence, length in zip(sentences, lengths, strict=True) if length <= longest)


def _drawn(dataset: str, items: pl.DataFrame, attributes: Sequence[str], settings: Propose) -> list[dict[str, str]]:
    """Random items that have a title and give no orders: their attributes that are not empty."""
    titled = items.sort("item_id").filter(pl.col(attributes[0]).str.len_chars() > 0).select(attributes)
    order = np.random.default_rng(settings.seed).permutation(titled.height)
    rows = (titled.row(int(place), named=True) for place in order)
    shown = ({attribute: text for attribute, text in row.items() if text} for row in rows)
    drawn = list(islice((item for item in shown if not gives_orders(item.values())), settings.items))
    if not drawn:
        raise LamarError(f"{dataset}: no item has a title that can be shown; pin a prompt: datasets.{dataset}.prompt")
    return drawn


def made_from(asked: dict[str, Any], name: str, dataset: Dataset, strategy: str | None, settings: Propose) -> str:
    """What a proposal was asked by and about, as a hash: as long as it stays, the proposal does.

    asked: who is asked. A pinned prompt has none (''). Neither the rules for signals nor the items are part of it: the
    key of every answer of a catalogue hangs on the prompt, and an edited rule or a new item must not ask for all of
    them again.
    """
    if dataset.prompt != AUTO and not strategy:
        return ""
    about = {"dataset": name, "about": dataset.about, "attributes": dataset.attributes, "prompt": dataset.prompt}
    how = {"strategy": strategy or DEFAULT, "seed": settings.seed, "items": settings.items}
    whole = {"asked": asked, **about, **how, "examples": settings.examples}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_made(path: Path, made: str) -> bool:
    """Whether a proposal is there that was `made_from` the same. Raises LamarError when its file is broken."""
    return bool(made) and path.exists() and read_json(path).get("made_from") == made


def write_proposal(path: Path, proposal: Proposal, made: str = "") -> None:
    """Write a proposal, `made_from` what, as JSON: for people to read and for `lamar.signals.prompt.read_prompt`."""
    prompt = proposal.prompt
    content: dict[str, Any] = {
        "strategy": proposal.strategy,
        "signal": prompt.signal,
        "reasoning": proposal.reasoning,
        "task": prompt.task,
        "examples": [{"item": dict(item), "signal": signal} for item, signal in prompt.examples],
        "conversation": list(proposal.conversation),
    }
    write_json(path, content | ({"made_from": made, "answers": list(proposal.answers)} if made else {}))
