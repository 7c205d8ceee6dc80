"""What answers took: tokens, money, time. It all stands in the journal: the same answers give the same numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamar.llm.journal import Answer
from lamar.llm.money import characters, paid, tokens_about, tokens_at_most
from lamar.params import AnyGenerator, LocalGenerator, Price, RemoteGenerator

if TYPE_CHECKING:
    from lamar.signals.prompt import Messages

PERCENTILES = (50, 90, 99)


def usage(answers: Iterable[Answer], generator: AnyGenerator) -> dict[str, int | float | str]:
    """Sums over answers: requests, tokens, cost in USD at the prices of params.yaml, retries before they came.

    `latency_p50`, `_p90`, `_p99`: seconds that the successful attempts took; absent when nobody measured them (a local
    model, a batch). Retries of questions that got no answer are not counted.
    """
    answers = list(answers)
    read, written = (sum(getattr(answer, name) for answer in answers) for name in ("input_tokens", "output_tokens"))
    usd = paid(generator, answers) if isinstance(generator, RemoteGenerator) else 0.0
    seconds = sorted(answer.seconds for answer in answers if answer.seconds is not None)
    return {
        "requests": len(answers),
        "input_tokens": read,
        "output_tokens": written,
        "cost_usd": round(usd, 6),
        "retries": sum(answer.attempts - 1 for answer in answers if answer.attempts is not None),
        **{f"latency_p{share}": _percentile(seconds, share) for share in PERCENTILES if seconds},
    }


def _percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that `share` percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


@dataclass(frozen=True)
class Estimate:
    """What asking the missing questions takes, before it is done.

    `counted` says how the input tokens were found, `most_input` is what they cannot exceed. `most`, `expected`: output
    tokens, at most and at the mean length of the answers so far; None when there are none.
    """

    questions: int
    answered: int
    input_tokens: int
    counted: str
    most_input: int
    most: int
    expected: int | None

    @property
    def missing(self) -> int:
        """How many questions would be asked."""
        return self.questions - self.answered


def estimate(questions: dict[str, Messages], known: dict[str, Answer], generator: AnyGenerator) -> Estimate:
    """Requests and tokens of asking those of `questions` that `known` does not answer."""
    missing = [messages for key, messages in questions.items() if key not in known]
    answered = [(messages, known[key]) for key, messages in questions.items() if key in known]
    tokens, counted = _input_tokens(missing, answered, generator)
    lengths = [answer.output_tokens for _, answer in answered if answer.output_tokens]
    expected = round(statistics.fmean(lengths) * len(missing)) if lengths else None
    most = sum(map(tokens_at_most, missing)), len(missing) * generator.max_tokens
    return Estimate(len(questions), len(answered), tokens, counted, *most, expected)


def costs(found: Estimate, price: Price) -> list[tuple[str, str]]:
    """What asking costs live, and in the Batch API where there is a price for it, as text."""

    def usd(read: float, written: float) -> str:
        most = (found.most_input * read + found.most * written) / 1e6
        answers = found.most if found.expected is None else found.expected
        likely = (found.input_tokens * read + answers * written) / 1e6
        condition = "if every answer is as long as it may be" if found.expected is None else "expected"
        return f"${most:,.4f} at most, ${likely:,.4f} {condition}"

    modes = [("cost", usd(price.input, price.output))]
    if price.batch_input is not None and price.batch_output is not None:
        modes.append(("in a batch", usd(price.batch_input, price.batch_output)))
    return modes


def _input_tokens(
    missing: list[Messages], answered: list[tuple[Messages, Answer]], generator: AnyGenerator
) -> tuple[int, str]:
    """Tokens to read: by the model's tokenizer, else by the answers so far, else by a rule of thumb."""
    if tokenizer := _tokenizer(generator):
        chats = [
            tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True) for chat in missing
        ]
        ids = tokenizer(chats, add_special_tokens=False)["input_ids"] if chats else []
        return sum(map(len, ids)), "counted with the model's tokenizer"
    billed = [(characters(messages), answer.input_tokens) for messages, answer in answered if answer.input_tokens]
    if billed:
        read, tokens = (sum(column) for column in zip(*billed, strict=True))
        share = f"{read / tokens:.2f} characters a token, as in {len(billed):,} answers so far"
        return round(sum(map(characters, missing)) * tokens / read), share
    return sum(map(tokens_about, missing)), "an approximation: 4 characters a token, of Chinese or Japanese one"


def _tokenizer(generator: AnyGenerator):  # noqa: ANN202
    """The model's tokenizer, where this machine has it already: estimating downloads nothing."""
    from lamar.llm.local import tokenizer_folder

    folder = tokenizer_folder(generator) if isinstance(generator, LocalGenerator) else None
    if folder is None or not folder.exists():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
