"""What asking costs: tokens before they are counted by the provider, prices, and a budget that is never exceeded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lamar.errors import LamarError
from lamar.llm.journal import Answer
from lamar.params import RemoteGenerator

if TYPE_CHECKING:
    from lamar.signals.prompt import Messages

CHARACTERS_PER_TOKEN = 4  # of English text, the providers' own rule of thumb; of Chinese or Japanese about one
FRAME = 16  # tokens that a chat format puts around a message, generously


def tokens_about(messages: Messages) -> int:
    """Tokens of a chat, approximately: a character beyond ASCII counts as one."""
    ascii_only = sum(character.isascii() for message in messages for character in message["content"])
    return ascii_only // CHARACTERS_PER_TOKEN + characters(messages) - ascii_only + FRAME * len(messages)


def tokens_at_most(messages: Messages) -> int:
    """More tokens than a chat can have: no tokenizer in use makes more than one of a byte."""
    return sum(len(message["content"].encode()) + FRAME for message in messages) + FRAME


def characters(messages: Messages) -> int:
    """Characters of a chat."""
    return sum(len(message["content"]) for message in messages)


def cost(generator: RemoteGenerator, input_tokens: float, output_tokens: float) -> float:
    """USD for so many tokens as the generator asks now, live or in a batch."""
    read, written = generator.prices
    return (input_tokens * read + output_tokens * written) / 1e6


def paid(generator: RemoteGenerator, answers: Iterable[Answer]) -> float:
    """USD that answers have cost, at most where nobody counted.

    Only live answers say how long they took: the others came in a batch, for less.
    """
    answers = list(answers)
    price = generator.price
    live = price.input, price.output
    in_a_batch = (price.batch_input, price.batch_output) if price.batch_input is not None else live
    rates = ((answer, live if answer.seconds is not None else in_a_batch) for answer in answers)
    counted = sum(answer.input_tokens * read + answer.output_tokens * written for answer, (read, written) in rates)
    return counted / 1e6 + sum(answer.reserved_usd or 0 for answer in answers)


class Budget:
    """What may still be spent. Every request in flight reserves the most that it can cost."""

    def __init__(self, name: str, generator: RemoteGenerator, answers: Iterable[Answer]) -> None:
        """Count what the answers so far have cost. Raises LamarError when the generator costs and has no budget."""
        self._name = name
        self._generator = generator
        if any(generator.prices) and generator.budget_usd is None:
            raise LamarError(
                f"{name} costs money and has no budget; set one, e.g. -S generators.{name}.budget_usd=5 "
                f"(lamar estimate --generator {name} --dataset ... says what is needed)"
            )
        self._limit = generator.budget_usd if generator.budget_usd is not None else float("inf")
        self.spent = paid(generator, answers)
        self._reserved = 0.0
        self.in_flight = 0

    def most(self, messages: Messages) -> float:
        """The most that asking this can cost, in USD."""
        return cost(self._generator, tokens_at_most(messages), self._generator.max_tokens)

    def affords(self, amount: float) -> bool:
        """Whether `amount` more can be reserved."""
        return self.spent + self._reserved + amount <= self._limit

    def reserve(self, amount: float) -> None:
        """Set `amount` aside for a request."""
        self._reserved += amount
        self.in_flight += 1

    def settle(self, amount: float, cost: float) -> None:
        """Give back what was set aside for a request and count what it cost."""
        self.in_flight -= 1
        self._reserved = self._reserved - amount if self.in_flight else 0.0  # no rounding errors pile up
        self.spent += cost

    def exhausted(self) -> LamarError:
        """Why nothing more is asked, and what to do."""
        return LamarError(
            f"generators.{self._name}.budget_usd: ${self._limit:g} does not pay for one more question "
            f"(${self.spent:.4f} are spent on this dataset); raise it and run the same command to go on"
        )
