"""A local LLM through transformers: many questions at once, the prefix they share encoded once.

All questions of a catalogue begin with the same instruction and examples. That prefix is run through the model once
and its attention cache is reused for every batch; questions are sorted by length so that little is padded, and a
question leaves its batch as soon as it is answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from lamar.data.sources import fetch_files
from lamar.llm.journal import Answer, key_of
from lamar.llm.weights import dequantise
from lamar.params import LocalGenerator

if TYPE_CHECKING:
    from lamar.llm.cache import KeysValues
    from lamar.signals.prompt import Messages

FINISHED_SHARE = 1 / 8  # answered questions leave the batch when they are this much of it: leaving copies the cache

ROUNDING = 2**-6  # two steps of bfloat16, relative to the largest logit


def cache_folder() -> Path:
    """Where downloaded weights are kept: $LAMAR_CACHE, or the user's cache directory."""
    return Path(os.environ.get("LAMAR_CACHE") or user_cache_path("lamar"))


def identity(generator: LocalGenerator) -> dict[str, Any]:
    """Who answers, as it enters the key of an answer: the weights themselves, and the sampling."""
    return {
        "provider": "local",
        "weights": generator.sha256,
        "max_tokens": generator.max_tokens,
        "decoding": "greedy",
    }


class LocalModel:
    """A causal LM that answers chats greedily."""

    def __init__(self, generator: LocalGenerator, batch: int) -> None:
        """Load the weights, fetching and dequantising them first when this machine has not done so yet."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._generator = generator
        self._batch = batch
        folder = weights_folder(generator)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device).eval()
        self._stops = _stop_tokens(self._model, self._tokenizer)

    def ask(self, questions: Sequence[Messages]) -> Iterator[list[Answer]]:
        """Answer all questions, a batch at a time, shortest first; answers carry the key of their question."""
        import torch

        if not questions:
            return
        encoded = [self._encode(messages) for messages in questions]
        order = sorted(range(len(questions)), key=lambda index: (len(encoded[index]), index))
        shared = _common_prefix(encoded)
        with torch.inference_mode():
            prefix = self._prefix_cache(encoded[0][:shared])
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            with torch.inference_mode():  # not around the yield: it would hold for the caller, too
                outputs = self._answer(prefix, shared, [encoded[index][shared:] for index in chosen])
            yield [
                self._to_answer(questions[index], len(encoded[index]), output)
                for index, output in zip(chosen, outputs, strict=True)
            ]

    def best_tokens(self, messages: Messages, answer: Answer) -> tuple[int, int]:
        """How many tokens of an answer (its end included) are the model's own choice at their place, and of how many.

        A choice is a logit no more than ROUNDING of the largest below the best: in bfloat16 the two best are often
        equal, and which one greedy decoding takes depends on the batch.
        """
        import torch

        read = self._encode(messages)
        written = self._tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        if answer.finish_reason == "stop":
            written.append(self._tokenizer.eos_token_id)
        with torch.inference_mode():
            ids = torch.tensor([read + written], device=self._model.device)
            logits = self._model(input_ids=ids, logits_to_keep=len(written) + 1).logits[0, :-1].float()
        chosen = logits.gather(1, torch.tensor(written, device=logits.device)[:, None])[:, 0]
        near = logits.max(-1).values - chosen <= ROUNDING * logits.abs().max()
        return int(near.sum()), len(written)

    def _encode(self, messages: Messages) -> list[int]:
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

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
        cache = shared_prefix(prefix, len(suffixes), room=width + self._generator.max_tokens)
        outputs: list[list[int]] = [[] for _ in suffixes]
        rows = list(range(len(suffixes)))  # the rows of `outputs` that the batch still holds
        for _ in range(self._generator.max_tokens):
            logits = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
            ).logits
            ids = logits[:, -1].argmax(-1, keepdim=True)
            for row, token in zip(rows, ids[:, 0].tolist(), strict=True):
                if not self._finished(outputs[row]):
                    outputs[row].append(token)
            going = [place for place, row in enumerate(rows) if not self._finished(outputs[row])]
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

    def _finished(self, output: list[int]) -> bool:
        return bool(output) and output[-1] in self._stops

    def _to_answer(self, messages: Messages, input_tokens: int, output: list[int]) -> Answer:
        return Answer(
            key=key_of(identity(self._generator), messages),
            model=self._generator.model,
            text=self._tokenizer.decode(output, skip_special_tokens=True).strip(),
            finish_reason="stop" if self._finished(output) else "length",
            input_tokens=input_tokens,
            output_tokens=len(output),
        )


def tokenizer_folder(generator: LocalGenerator) -> Path:
    """Where the weights and the tokenizer are once they have been fetched and dequantised."""
    return cache_folder() / generator.sha256[:16] / "bfloat16"


def weights_folder(generator: LocalGenerator) -> Path:
    """A generator's weights as transformers loads them; fetched and dequantised when this machine lacks them."""
    plain = tokenizer_folder(generator)
    if not plain.exists():
        fetch_files(generator.sources, plain.parent, {generator.file: generator.sha256})
        dequantise(plain.parent / generator.file, plain)
    return plain


def _stop_tokens(model: Any, tokenizer: Any) -> set[int]:
    declared = model.generation_config.eos_token_id
    return {*(declared if isinstance(declared, list) else [declared]), tokenizer.eos_token_id} - {None}


def _common_prefix(sequences: Sequence[list[int]]) -> int:
    """Tokens that all sequences begin with; at least one token of each is left to be read anew."""
    first, last = min(sequences), max(sequences)  # in lexicographic order: what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return min(shared, min(map(len, sequences)) - 1)
