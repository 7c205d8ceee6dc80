"""What proposing a signal will ask at most, before anything is asked, and what the catalogue would be asked then."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lamar.llm.journal import Answer
from lamar.params import Dataset, Propose
from lamar.signals.prompt import Messages, Prompt
from lamar.signals.proposal import asking_for, brief_of
from lamar.signals.propose import LONGEST_NAME, STRATEGIES, texts_of

SIGNAL = "Primary Use Case"  # a name of three words
EXAMPLE = "word " * 19 + "word"  # 20 words, the middle of what is asked for
ASSUMED = "a name of 3 words and examples of 20"


def worst_chats(name: str, items: pl.DataFrame, dataset: Dataset, strategy: str, settings: Propose) -> list[Messages]:
    """The chats of a proposal in which nothing is understood at first and every answer is as long as it may be.

    A character of a long answer stands for a token: so `tokens_at_most`, which counts bytes, counts no less than the
    model will read. Raises LamarError as `propose`.
    """
    brief = brief_of(name, items, dataset, settings)
    retry = texts_of("answers")["retry"].split("{")[0]
    chats: list[Messages] = []

    def ask(asked: Sequence[Messages]) -> list[Answer]:
        chats.extend(asked)
        named = f"{len(chats):02}".rjust(LONGEST_NAME, "\N{CJK UNIFIED IDEOGRAPH-20000}")  # 4 bytes a letter
        texts = [named if chat[-1]["content"].startswith(retry) else "x" * settings.max_tokens for chat in asked]
        return [Answer("", "", text, "stop", 0, 0) for text in texts]

    idea = STRATEGIES[strategy](ask, brief)
    bare = asking_for(brief, idea.signal)
    return [*chats, *(bare.messages(item) for item in brief.items)]


def assumed_prompt(name: str, items: pl.DataFrame, dataset: Dataset, settings: Propose) -> Prompt:
    """A prompt as it may come out: ASSUMED, about the items that the proposal shows. Raises LamarError as `propose`."""
    brief = brief_of(name, items, dataset, settings)
    bare = asking_for(brief, SIGNAL)
    return Prompt(SIGNAL, bare.task, tuple((item, EXAMPLE) for item in brief.items[: settings.examples]))
