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


@dataclass(frozen=True)
class Case:
    """Token ids of a question, and of each answer with the token that ends it."""

    question: Sequence[int]
    answers: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """How long the case is in a row."""
        return len(self.question) + sum(map(len, self.answers))


@dataclass(frozen=True)
class Row:
    """ids, places: (tokens,); seen: which tokens a token sees, bool (tokens, tokens).

    reads: for each token of every answer the token whose prediction it is; writes: the answers' tokens; answer: the
    number of the answer that each belongs to.
    """

    ids: Tensor
    places: Tensor
    seen: Tensor
    reads: Tensor
    writes: Tensor
    answer: Tensor


def row_of(cases: Sequence[Case]) -> Row:
    """Lay cases side by side."""
    ids: list[int] = []
    places: list[int] = []
    part: list[int] = []  # of a token: the number of its question or answer
    owner: list[int] = []  # of a part: the part whose tokens it sees besides its own
    reads: list[int] = []
    answer: list[int] = []
    for case in cases:
        question = len(owner)
        owner.append(question)
        last = len(ids) + len(case.question) - 1
        for number, tokens in enumerate((case.question, *case.answers)):
            start, first = len(ids), 0 if number == 0 else len(case.question)
            ids += tokens
            places += range(first, first + len(tokens))
            part += [question + number] * len(tokens)
            if number > 0:
                owner.append(question)
                reads += [last, *range(start, start + len(tokens) - 1)]
                answer += [len(owner) - 1] * len(tokens)
    parts, owners = torch.tensor(part), torch.tensor(owner)
    alike = (parts[:, None] == parts[None]) | (owners[parts][:, None] == parts[None])
    _, numbers = torch.tensor(answer).unique_consecutive(return_inverse=True)
    written = torch.isin(parts, torch.tensor(answer))
    tokens = torch.tensor(ids)
    return Row(tokens, torch.tensor(places), alike.tril(), torch.tensor(reads), tokens[written], numbers)


def token_log_likelihoods(model: Any, row: Row) -> Tensor:
    """Natural log of the probability of every answer's token in its place, float32 (answer tokens,).

    `model`: a causal LM of transformers, or one that peft has wrapped. Only the answers' logits are computed: over a
    vocabulary of 150,000 the question's would cost more than the rest.
    """
    device = model.device
    logits = model(
        input_ids=row.ids[None].to(device),
        position_ids=row.places[None].to(device),
        attention_mask=row.seen[None, None].to(device),
        logits_to_keep=row.reads.to(device),
        use_cache=False,
    ).logits[0]
    return logits.float().log_softmax(-1).gather(1, row.writes.to(device)[:, None])[:, 0]


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
