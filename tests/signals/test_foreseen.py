"""What is foreseen of a proposal is no less than what proposing then asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from lamar.llm.journal import Answer
from lamar.llm.money import tokens_about, tokens_at_most
from lamar.params import load
from lamar.signals.foreseen import assumed_prompt, worst_chats
from lamar.signals.prompt import Messages
from lamar.signals.proposal import propose
from lamar.signals.propose import STRATEGIES

CHOSEN = load(Path(__file__).parents[2] / "params.yaml")
SHOP = CHOSEN.datasets["scientific"].model_copy(
    update={"prompt": "auto", "about": "園芸道具", "attributes": ["title", "maker"]}
)
TITLES = [f"剪定ばさみ {number} 号、ステンレス製、園芸用" for number in range(12)]
ITEMS = pl.DataFrame({"item_id": [f"i{n:02}" for n in range(12)], "title": TITLES, "maker": "庭工房"})
USES = ["庭木の枝", "果樹の枝", "生け花の茎", "バラの茎"]


def chatty(asked: list[Messages]):  # noqa: ANN201
    """A model that thinks at length, names nothing until it is asked again, and then writes good signals."""
    limit = CHOSEN.propose.max_tokens

    def ask(chats: Sequence[Messages]) -> list[Answer]:
        said = []
        for chat in chats:
            if "one item as input" in chat[-1]["content"]:
                text = f"Cuts {USES[len(asked) % 4]} {len(asked)} ".replace(str(len(asked)), "") + "neatly " * 9
            elif "Then what is the one new feature called" in chat[-1]["content"]:
                text = "使い道" if len(chat) < 5 else "手入れ"
            else:
                text = "考" * limit
            asked.append(chat)
            said.append(Answer(f"k{len(asked)}", "m", text, "stop", 1, 1))
        return said

    return ask


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_no_more_is_asked_than_was_foreseen(strategy: str) -> None:
    rules = CHOSEN.signals.model_copy(update={"language_confidence": 1.0})
    asked: list[Messages] = []
    foreseen = worst_chats("shop", ITEMS, SHOP, strategy, CHOSEN.propose)
    propose(chatty(asked), "shop", ITEMS, SHOP, strategy, CHOSEN.propose, rules)
    assert len(asked) == len(foreseen)
    characters = [sum(len(message["content"]) for message in chat) for chat in asked]  # about a token each in Japanese
    assert all(tokens_at_most(chat) >= tokens for chat, tokens in zip(foreseen, characters, strict=True))


def test_japanese_is_not_counted_as_english() -> None:
    chat = ({"role": "user", "content": TITLES[0] * 10},)
    english = ({"role": "user", "content": "x" * len(chat[0]["content"])},)
    assert tokens_about(chat) > 2 * tokens_about(english)
    assert tokens_at_most(chat) > 2.5 * len(chat[0]["content"]), "bytes"


def test_the_assumed_prompt_has_the_examples_that_are_asked_for() -> None:
    prompt = assumed_prompt("shop", ITEMS, SHOP, CHOSEN.propose)
    assert len(prompt.examples) == CHOSEN.propose.examples
    assert all(item["title"] in TITLES for item, _ in prompt.examples)
