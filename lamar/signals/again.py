"""A second attempt: what was rejected is asked for once more, with the first answer and the reason in the question.

First and second answers have their own keys, so that none is asked for twice and the first ones stay what they are.
"""

from __future__ import annotations

import polars as pl

from lamar.errors import LamarError
from lamar.llm import journal, provider
from lamar.params import AnyGenerator
from lamar.signals.generate import Question
from lamar.signals.prompt import Messages, as_data

CORRECTION = (
    "That cannot be used. The reason: {reason}. Write another {signal} of the same item as you were asked at first, "
    "true of this item and of few others. Answer with nothing but its text."
)


def second_questions(
    first: list[Question], responses: pl.DataFrame, signals: pl.DataFrame, generator: AnyGenerator
) -> list[Question]:
    """A question about every item whose answer was rejected, in the order of `first`.

    responses: item_id, key and text; signals: item_id, name, kept, reason, as the stage `signals` judged them. Where
    the model said nothing (a filter, a refused request) there is nothing to correct, and nothing is asked. Raises
    LamarError when the responses are not those to `first`.
    """
    if {question.key for question in first} != set(responses["key"]):
        raise LamarError("the answers that were judged are not those to today's questions; run dvc repro signals first")
    rejected = signals.filter(~pl.col("kept")).join(responses, on="item_id").filter(pl.col("text") != "")
    rows = {row["item_id"]: row for row in rejected.iter_rows(named=True)}
    asked = provider.identity(generator)
    chats = {
        question.item_id: _corrected(question.messages, rows[question.item_id])
        for question in first
        if question.item_id in rows
    }
    return [Question(item_id, journal.key_of(asked, chat), chat) for item_id, chat in chats.items()]


def _corrected(messages: Messages, rejected: dict[str, str]) -> Messages:
    said = {"role": "assistant", "content": as_data(rejected["text"])}
    correction = CORRECTION.format(reason=rejected["reason"], signal=rejected["name"])
    return (*messages, said, {"role": "user", "content": correction})
