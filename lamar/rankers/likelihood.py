"""How likely an LLM thinks each of several answers to one question is, all read in one pass.

A question and its answers lie in one row of tokens: every answer sees the question and itself, never another answer,
and its places go on where the question ends. The question is thus read once for all its answers. Several questions
can share a row. Training reads rows of the same kind, with one answer a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lamar.rankers.attention import Seen

# Of four dimensions, so that transformers makes none of the whole row; and empty, so that a model that does not attend
# by case fails on it, where it would otherwise see all cases at once.
NO_MASK = torch.empty(1, 1, 0, 0, dtype=torch.bool)
# Of whose logits there is a float32 copy: the 7,000 of a pool of 500 would take 9 GB with a vocabulary of 150,000.
TOKENS_AT_ONCE = 512


@dataclass(frozen=True)
class Case:
    """Token ids of a question, and of each answer with the token that ends it."""

    question: Sequence[int]
    answers: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """How long the case is in a row."""
        return len(self.question) + self.written

    @property
    def places(self) -> int:
        """How many places of a context it takes: the question's, and those of the longest answer."""
        return len(self.question) + max(map(len, self.answers))

    @property
    def written(self) -> int:
        """How many tokens its answers have."""
        return sum(map(len, self.answers))


@dataclass(frozen=True)
class Row:
    """ids, places: (tokens,); cases: what the answers' tokens see of their case.

    reads: for each token of every answer the token whose prediction it is; writes: the answers' tokens; answer: the
    number of the answer that each belongs to.
    """

    ids: Tensor
    places: Tensor
    cases: Sequence[Seen]
    reads: Tensor
    writes: Tensor
    answer: Tensor


def row_of(cases: Sequence[Case]) -> Row:
    """Lay cases side by side."""
    ids: list[int] = []
    places: list[int] = []
    reads: list[int] = []
    writes: list[int] = []
    lengths: list[int] = []  # of the answers
    for case in cases:
        ids += case.question
        places += range(len(case.question))
        last = len(ids) - 1  # the token that every answer of the case follows
        for tokens in case.answers:
            reads += [last, *range(len(ids), len(ids) + len(tokens) - 1)]
            ids += tokens
            places += range(len(case.question), len(case.question) + len(tokens))
            writes += tokens
            lengths.append(len(tokens))
    answer = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    seen = [(case.tokens, _seen(case)) for case in cases]
    return Row(torch.tensor(ids), torch.tensor(places), seen, torch.tensor(reads), torch.tensor(writes), answer)


def _seen(case: Case) -> Tensor | None:
    """Which tokens of a case those of its answers see, bool (written, tokens); None: with one answer, all before it."""
    if len(case.answers) == 1:
        return None
    lengths = torch.tensor([len(case.question), *map(len, case.answers)])
    part = torch.arange(len(lengths)).repeat_interleave(lengths)  # of a token: 0 for the question, then its answer
    first = len(case.question)
    return ((part[first:, None] == part) | (part == 0)).tril(diagonal=first)


def token_log_likelihoods(model: Any, row: Row) -> Tensor:
    """Natural log of the probability of every answer's token in its place, float32 (answer tokens,).

    `model`: a causal LM of transformers that attends `by_case`, or one that peft has wrapped. Only the answers' logits
    are computed: over a vocabulary of 150,000 the question's would cost more than the rest.
    """
    device = model.device
    logits = model(
        input_ids=row.ids[None].to(device),
        position_ids=row.places[None].to(device),
        attention_mask=NO_MASK.to(device),
        cases=[(tokens, seen if seen is None else seen.to(device)) for tokens, seen in row.cases],
        logits_to_keep=row.reads.to(device),
        use_cache=False,
    ).logits[0]
    parts = zip(logits.split(TOKENS_AT_ONCE), row.writes.to(device).split(TOKENS_AT_ONCE), strict=True)
    return torch.cat([-cross_entropy(part.float(), written, reduction="none") for part, written in parts])


def answer_log_likelihoods(model: Any, row: Row) -> Tensor:
    """Mean log-likelihood over the tokens of each answer, (answers,): long titles are not held against an item."""
    values = token_log_likelihoods(model, row)
    number = row.answer.to(values.device)
    return torch.zeros(int(number[-1]) + 1, device=values.device).index_add(0, number, values) / number.bincount()


def packed(cases: Sequence[Case], tokens: int) -> list[list[int]]:
    """Numbers of `cases` in groups of at most `tokens` tokens, longest first; a longer case is a group of its own.

    First fit: a case goes where there is still room, so that rows are nearly full.
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(cases)), key=lambda number: -cases[number].tokens):
        size = cases[number].tokens
        place = next((place for place, free in enumerate(room) if free >= size), None)
        if place is None:
            groups.append([number])
            room.append(tokens - size)
        else:
            groups[place].append(number)
            room[place] -= size
    return groups
