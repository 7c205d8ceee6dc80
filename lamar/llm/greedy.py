"""Greedy answers of a causal LM: many questions at once, the prefix they share encoded once.

The prefix is run through the model once and its attention cache is reused for every batch; questions are sorted by
length so that little is padded, and a question leaves its batch as soon as it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lamar.llm.room import Room

if TYPE_CHECKING:
    from lamar.llm.cache import KeysValues

FINISHED_SHARE = 1 / 8  # answered questions leave the batch when they are this much of it: leaving copies the cache


class Greedy:
    """A causal LM of transformers, or one that peft has wrapped, that goes on with what it reads."""

    def __init__(self, model: Any, tokenizer: Any, batch: int, max_tokens: int) -> None:
        """`batch` questions at once; `max_tokens` bounds an answer, the token that ends it included."""
        self._model = model
        self._batch = batch
        self._max_tokens = max_tokens
        self._stops = _stop_tokens(model, tokenizer)
        self._read: tuple[list[int], list[KeysValues]] | None = None  # the prefix that was read last

    def written(self, questions: Sequence[list[int]]) -> Iterator[list[tuple[int, list[int]]]]:
        """Yield (number of the question, tokens of its answer) a batch at a time, shortest questions first."""
        prefix, batches = planned(questions, Room(self._batch), self._max_tokens)
        for numbers in batches:
            outputs = self.answered(prefix, [questions[number] for number in numbers])
            yield list(zip(numbers, outputs, strict=True))

    def answered(self, prefix: list[int], questions: Sequence[list[int]]) -> list[list[int]]:
        """Tokens of the answers to one batch of questions, which all begin with `prefix`.

        The prefix is read anew only when it is another one than before. Halves of a batch that a GPU has not the memory
        for are answered one after the other.
        """
        import torch

        with torch.inference_mode():
            if self._read is None or self._read[0] != prefix:
                self._read = (prefix, self._prefix_cache(prefix))
            try:
                return self._answer(self._read[1], len(prefix), [question[len(prefix) :] for question in questions])
            except torch.OutOfMemoryError:
                if len(questions) == 1:
                    raise
        half = len(questions) // 2  # only here are the tensors of the attempt gone: the error held them
        return self.answered(prefix, questions[:half]) + self.answered(prefix, questions[half:])

    def finished(self, output: Sequence[int]) -> bool:
        """Whether an answer was ended by the model."""
        return bool(output) and output[-1] in self._stops

    def _prefix_cache(self, tokens: list[int]) -> list[KeysValues]:
        """Keys and values (1, heads, prefix, width) of each layer for the shared tokens."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache()
        ids = torch.tensor([tokens], device=self._model.device)
        self._model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _answer(self, prefix: list[KeysValues], shared: int, suffixes: list[list[int]]) -> list[list[int]]:
        """Greedy continuations, stop token included, of the prefix followed by each suffix."""
        import torch

        from lamar.llm.cache import shared_prefix

        device = self._model.device
        width = max(map(len, suffixes))
        ids = torch.tensor([[0] * (width - len(s)) + s for s in suffixes], device=device)
        mask = torch.tensor([[1] * shared + [0] * (width - len(s)) + [1] * len(s) for s in suffixes], device=device)
        positions = (mask.cumsum(1) - 1)[:, shared:]
        cache = shared_prefix(prefix, len(suffixes), room=width + self._max_tokens)
        outputs: list[list[int]] = [[] for _ in suffixes]
        rows = list(range(len(suffixes)))  # the rows of `outputs` that the batch still holds
        for _ in range(self._max_tokens):
            logits = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
            ).logits
            ids = logits[:, -1].argmax(-1, keepdim=True)
            for row, token in zip(rows, ids[:, 0].tolist(), strict=True):
                if not self.finished(outputs[row]):
                    outputs[row].append(token)
            going = [place for place, row in enumerate(rows) if not self.finished(outputs[row])]
            if not going:
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            positions = positions[:, -1:] + 1
            if len(going) <= len(rows) * (1 - FINISHED_SHARE):
                kept = torch.tensor(going, device=device)
                cache.batch_select_indices(kept)
                ids, mask, positions = ids[kept], mask[kept], positions[kept]
                rows = [rows[place] for place in going]
        return outputs


def planned(questions: Sequence[list[int]], room: Room, max_tokens: int) -> tuple[list[int], list[list[int]]]:
    """The tokens that all questions begin with, and the numbers of those asked together, the shortest first.

    room: for a batch; max_tokens: of an answer.
    """
    if not questions:
        return [], []
    shared = common_prefix(questions)
    batches: list[list[int]] = []
    for number in sorted(range(len(questions)), key=lambda number: (len(questions[number]), number)):
        tokens = len(questions[number]) - shared + max_tokens  # of each, as the others are no longer
        if not batches or _is_full(len(batches[-1]), tokens, room):
            batches.append([])
        batches[-1].append(number)
    return questions[0][:shared], batches


def _is_full(questions: int, tokens: int, room: Room) -> bool:
    """Whether a batch has no room for one more question, which makes all of them `tokens` wide."""
    return questions == room.questions or (room.tokens is not None and (questions + 1) * tokens > room.tokens)


def _stop_tokens(model: Any, tokenizer: Any) -> set[int]:
    declared = model.generation_config.eos_token_id
    return {*(declared if isinstance(declared, list) else [declared]), tokenizer.eos_token_id} - {None}


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """Tokens that all sequences begin with; at least one token of each is left to be read anew."""
    first, last = min(sequences), max(sequences)  # in lexicographic order: what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return min(shared, min(map(len, sequences)) - 1)
