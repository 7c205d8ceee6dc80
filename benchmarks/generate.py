"""Items a second of the `generate` stage against transformers' own `generate`, on the same questions and weights.

The reference answers the same full questions in batches of the same size and order of length with greedy decoding;
what it lacks is the shared prefix and leaving the batch when answered. Answers are compared question by question: in
bfloat16 the two best tokens are often equal, so that another batch words some otherwise, and then every token of ours
must be a best one but for rounding. Run after `dvc repro prepare`:

    python benchmarks/generate.py ml-100k qwen-coder --items 64
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click
import torch

from lamar import params
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.llm.journal import Answer
from lamar.llm.local import LocalModel
from lamar.llm.room import room
from lamar.signals import generate
from lamar.signals.generate import Question
from lamar.signals.prompt import Messages, load_prompt

T = TypeVar("T")


def reference(model: LocalModel, questions: Sequence[Messages], batch: int, max_tokens: int) -> list[str]:
    """Answers by `transformers`' generate in the order of the questions; asked are the shortest first."""
    tokenizer, network = model._tokenizer, model._model
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.pad_token or tokenizer.eos_token
    texts = [tokenizer.apply_chat_template(list(q), tokenize=False, add_generation_prompt=True) for q in questions]
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    answers: dict[int, str] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        chats = [texts[number] for number in chosen]
        inputs = tokenizer(chats, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = network.generate(**inputs.to(network.device), max_new_tokens=max_tokens, do_sample=False)
        said = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        answers |= {number: text.strip() for number, text in zip(chosen, said, strict=True)}
    return [answers[number] for number in range(len(texts))]


def compared(model: LocalModel, asked: Sequence[Question], ours: Mapping[str, Answer], theirs: Sequence[str]) -> dict:
    """How many questions got the same answer, and of ours to the others how many tokens are a best one, of how many."""
    different = [question for question, text in zip(asked, theirs, strict=True) if ours[question.key].text != text]
    counts = [model.best_tokens(question.messages, ours[question.key]) for question in different]
    best, tokens = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return {"same_answers": len(asked) - len(different), "tokens_that_differ_by_ties": best, "tokens_of_others": tokens}


def timed(answer: Callable[[], T]) -> tuple[T, float]:
    """The answers and the seconds they took."""
    started = time.perf_counter()
    answers = answer()
    return answers, time.perf_counter() - started


@click.command()
@click.argument("dataset")
@click.argument("generator")
@click.option("--items", default=64, show_default=True)
@user_errors
def main(dataset: str, generator: str, items: int) -> None:
    """Write benchmarks/results/generate-DATASET.json; the ratio is printed last."""
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    sample = generate.read_items(Path("data/prepared", dataset)).sample(items, seed=0)
    asked = generate.questions(sample, source.attributes, load_prompt(source.prompt), writer)
    batch, questions = room(chosen.generate.batch).questions, [question.messages for question in asked]
    model = LocalModel(writer, batch)
    theirs, slow = timed(lambda: reference(model, questions, batch, writer.max_tokens))
    ours, fast = timed(lambda: {answer.key: answer for answers in model.ask(questions) for answer in answers})
    result = {
        "model": writer.model,
        "threads": torch.get_num_threads(),
        "items": items,
        **compared(model, asked, ours, theirs),
        "items_per_second": round(items / fast, 3),
        "reference_items_per_second": round(items / slow, 3),
        "ratio": round(slow / fast, 2),
    }
    write_json(Path(f"benchmarks/results/generate-{dataset}.json"), result)
    for name, value in result.items():
        say(f"{name}: {value}")
    if result["tokens_that_differ_by_ties"] != result["tokens_of_others"]:
        raise LamarError("answers differ by more than ties: the two ways do not say the same")


if __name__ == "__main__":
    main()
