"""A local LLM through transformers, with or without an adapter.

All questions of a catalogue begin with the same instruction and examples, which are read once for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from platformdirs import user_cache_path

from lamar.data.sources import fetch_files
from lamar.engine import Engine, here
from lamar.errors import LamarError
from lamar.files import sha256_of
from lamar.llm.causal import load_causal_lm
from lamar.llm.checkpoints import checked, download
from lamar.llm.greedy import Greedy, planned
from lamar.llm.journal import Answer, key_of
from lamar.llm.room import Room, room
from lamar.llm.weights import dequantise
from lamar.params import Adapter, LocalGenerator

if TYPE_CHECKING:
    from lamar.signals.prompt import Messages

Batch = tuple[list[int], list[list[int]]]
"""Tokens that all questions of a batch begin with, and the questions as tokens."""

Written = tuple[str, str, int]
"""An answer's text, why it ended there, and its tokens."""

ROUNDING = 2**-6  # two steps of bfloat16, relative to the largest logit


def cache_folder() -> Path:
    """Where downloaded weights are kept: $LAMAR_CACHE, or the user's cache directory."""
    return Path(os.environ.get("LAMAR_CACHE") or user_cache_path("lamar"))


def identity(generator: LocalGenerator) -> dict[str, Any]:
    """Who answers, as it enters the key of an answer: the weights themselves, an adapter if any, and the sampling."""
    plain = {
        "provider": "local",
        "weights": generator.sha256,
        "max_tokens": generator.max_tokens,
        "decoding": "greedy",
    }
    return plain | ({"adapter": generator.adapter.sha256} if generator.adapter else {})


class LocalModel:
    """A causal LM that answers chats greedily."""

    def __init__(self, generator: LocalGenerator, batch: int | Literal["auto"]) -> None:
        """Load the weights, fetching and dequantising them first when this machine has not done so yet.

        batch: questions at once, as `lamar.llm.room.room` reads it.
        """
        import torch
        from transformers import AutoTokenizer

        self._generator = generator
        self._room = room(batch)
        folder = weights_folder(generator)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        model = load_causal_lm(folder)
        if generator.adapter:
            model = with_adapter(model, generator.adapter)
        self._model = model.to(device).eval()
        self._greedy = Greedy(self._model, self._tokenizer, self._room.questions, generator.max_tokens)

    def ask(self, questions: Sequence[Messages]) -> Iterator[list[Answer]]:
        """Answer all questions, a batch at a time, shortest first; answers carry the key of their question."""
        return _asked(questions, self._generator, self._tokenizer, self._room, here, lambda: self.write)

    def write(self, batch: Batch) -> list[Written]:
        """The answers to the questions of a batch."""
        prefix, questions = batch
        return [self._to_written(output) for output in self._greedy.answered(prefix, questions)]

    def best_tokens(self, messages: Messages, answer: Answer) -> tuple[int, int]:
        """How many tokens of an answer (its end included) are the model's own choice at their place, and of how many.

        A choice is a logit no more than ROUNDING of the largest below the best: in bfloat16 the two best are often
        equal, and which one greedy decoding takes depends on the batch.
        """
        import torch

        read = encoded(messages, self._tokenizer)
        written = self._tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        if answer.finish_reason == "stop":
            written.append(self._tokenizer.eos_token_id)
        with torch.inference_mode():
            ids = torch.tensor([read + written], device=self._model.device)
            logits = self._model(input_ids=ids, logits_to_keep=len(written) + 1).logits[0, :-1].float()
        chosen = logits.gather(1, torch.tensor(written, device=logits.device)[:, None])[:, 0]
        near = logits.max(-1).values - chosen <= ROUNDING * logits.abs().max()
        return int(near.sum()), len(written)

    def _to_written(self, output: list[int]) -> Written:
        text = self._tokenizer.decode(output, skip_special_tokens=True).strip()
        return text, "stop" if self._greedy.finished(output) else "length", len(output)


def ask(
    questions: Sequence[Messages], generator: LocalGenerator, batch: int | Literal["auto"], engine: Engine = here
) -> Iterator[list[Answer]]:
    """As `LocalModel.ask`, by a model in each process of the engine; batches come as they are answered.

    The batches do not depend on the engine, and so the answers do not: rounding depends on who shares a batch.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights_folder(generator))  # fetched once, before all processes want it
    return _asked(questions, generator, tokenizer, room(batch), engine, partial(_writer, generator))


def _asked(
    questions: Sequence[Messages],
    generator: LocalGenerator,
    tokenizer: Any,
    most: Room,
    engine: Engine,
    load: Callable[[], Callable[[Batch], list[Written]]],
) -> Iterator[list[Answer]]:
    read = [encoded(messages, tokenizer) for messages in questions]
    prefix, batches = planned(read, most, generator.max_tokens)
    for place, written in engine(partial(_batches, prefix, batches, read), load, gpu=True):
        yield [
            _answer(questions[number], generator, len(read[number]), *each)
            for number, each in zip(batches[place], written, strict=True)
        ]


def _batches(prefix: list[int], batches: list[list[int]], read: list[list[int]]) -> Iterator[Batch]:
    return ((prefix, [read[number] for number in numbers]) for numbers in batches)


def _writer(generator: LocalGenerator) -> Callable[[Batch], list[Written]]:
    return LocalModel(generator, "auto").write


def encoded(messages: Messages, tokenizer: Any) -> list[int]:
    """A chat as tokens, up to where the answer begins."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _answer(
    messages: Messages, generator: LocalGenerator, input_tokens: int, text: str, finish_reason: str, output_tokens: int
) -> Answer:
    key = key_of(identity(generator), messages)
    return Answer(key, generator.model, text, finish_reason, input_tokens, output_tokens)


def tokenizer_folder(generator: LocalGenerator) -> Path:
    """Where the weights and the tokenizer are, once they have been fetched (and dequantised)."""
    if generator.folder:
        return Path(generator.folder).expanduser()
    return cache_folder() / generator.sha256[:16] / ("weights" if generator.hub else "bfloat16")


def weights_folder(generator: LocalGenerator) -> Path:
    """A generator's weights as transformers loads them; fetched and dequantised when this machine lacks them.

    Raises LamarError when they are not to be had, or not those that params.yaml names.
    """
    plain = tokenizer_folder(generator)
    if generator.folder:
        return checked(plain, generator.sha256, generator.model)
    if plain.exists():
        return plain
    if generator.hub:
        fresh = cache_folder() / "hub" / quote(generator.hub, safe="")
        download(generator.hub, fresh)
        checked(fresh, generator.sha256, generator.model)
        plain.parent.mkdir(parents=True, exist_ok=True)
        return fresh.rename(plain)
    fetch_files(generator.sources, plain.parent, {generator.file: generator.sha256})
    return dequantise(plain.parent / generator.file, plain)


def with_adapter(model: Any, adapter: Adapter) -> Any:
    """`model` with an adapter. Raises LamarError when it is not there, not the one named, or of another LLM."""
    from peft import PeftModel

    weights = Path(adapter.folder, "adapter_model.safetensors")
    if not weights.exists():
        raise LamarError(f"{weights}: no such file; fine-tune the run that writes it (dvc repro tune)")
    found = sha256_of(weights)
    if found != adapter.sha256:
        raise LamarError(f"{weights}: has sha256 {found}, but params.yaml names {adapter.sha256}; correct either")
    try:
        return PeftModel.from_pretrained(model, adapter.folder)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LamarError(f"{adapter.folder}: no adapter of {model.config.name_or_path} ({reason})") from None
