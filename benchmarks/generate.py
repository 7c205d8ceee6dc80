"""Items a second of the `generate` stage against transformers' own `generate`, on the same questions and weights.

The reference answers the same full questions in batches of the same size and order of length with greedy decoding;
what it lacks is the shared prefix and leaving the batch when answered. Run after `dvc repro prepare`:

    python benchmarks/generate.py ml-100k qwen-coder --items 64
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json
from lamar.llm.local import LocalModel
from lamar.signals import generate
from lamar.signals.prompt import Messages, load_prompt


def reference(model: LocalModel, questions: Sequence[Messages], batch: int, max_tokens: int) -> list[str]:
    """Answers by `transformers`' generate, shortest questions first."""
    tokenizer, network = model._tokenizer, model._model
    tokenizer.padding_side = "left"
    chats = sorted((list(messages) for messages in questions), key=lambda chat: len(chat[-1]["content"]))
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    answers: list[str] = []
    for start in range(0, len(texts), batch):
        inputs = tokenizer(texts[start : start + batch], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = network.generate(**inputs.to(network.device), max_new_tokens=max_tokens, do_sample=False)
        answers += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def timed(answer: Callable[[], list[str]]) -> tuple[list[str], float]:
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
    """Write benchmarks/results/generate-DATASET.json."""
    chosen = params.load()
    source, writer = chosen.datasets[dataset], chosen.generators[generator]
    table = generate.read_items(Path("data/prepared", dataset))
    sample = table.sample(items, seed=0)
    asked = generate.questions(sample, source.attributes, load_prompt(source.prompt), writer)
    questions = [question.messages for question in asked]
    model = LocalModel(writer, chosen.generate.batch)
    theirs, slow = timed(lambda: reference(model, questions, chosen.generate.batch, writer.max_tokens))
    ours, fast = timed(lambda: [answer.text for batch in model.ask(questions) for answer in batch])
    result = {
        "items": items,
        "items_per_second": round(items / fast, 3),
        "reference_items_per_second": round(items / slow, 3),
        "ratio": round(slow / fast, 2),
        "same_answers": len(set(ours) & set(theirs)),
        "threads": torch.get_num_threads(),
        "model": writer.model,
    }
    write_json(Path(f"benchmarks/results/generate-{dataset}.json"), result)
    say(str(result))


if __name__ == "__main__":
    main()
