"""Ask what a journal does not hold yet: of a local model in batches, of a remote one at once or in the Batch API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lamar import console
from lamar.engine import Engine, here
from lamar.llm import batch, journal, local, runner
from lamar.llm.money import Budget
from lamar.params import AnyGenerator, Generate, LocalGenerator, OpenaiGenerator, RemoteGenerator

if TYPE_CHECKING:
    from lamar.llm.journal import Answer, Journal
    from lamar.signals.prompt import Messages

ANSWER_BYTES = 1024  # of a line in the journal without its text
TOKEN_BYTES = 16  # of text, escapes included, generously


def ask(
    questions: Mapping[str, Messages],
    path: Path,
    name: str,
    generator: AnyGenerator,
    settings: Generate,
    engine: Engine = here,
) -> None:
    """Ask those of `questions` (key -> chat) that the journal at `path` does not hold; it holds all when this returns.

    name: of `generator` in params.yaml. The answers that are there already count as spent on its budget.
    engine: where a local model answers; what it answers is written here, as it arrives.
    Raises LamarError when the journal is broken or held by another process, the weights, the key or the budget is
    missing, or some questions got no answer. What was answered is kept in any case.
    """
    if isinstance(generator, LocalGenerator):
        with journal.opened(path) as book:
            _, missing = _split(questions, path)
            if missing:
                _ask_locally(missing, generator, settings, book, engine)
    else:
        _ask_remotely(questions, path, name, generator, settings)


def _split(questions: Mapping[str, Messages], path: Path) -> tuple[list[Answer], dict[str, Messages]]:
    """What has been paid for, and what is missing; read while the journal is ours: another process may have ended."""
    known = journal.read(path)
    missing = {key: messages for key, messages in questions.items() if key not in known}
    lost = [request for request in journal.lost(path) if request.key in questions]
    return [known[key] for key in questions if key in known] + lost, missing


def _ask_locally(
    questions: Mapping[str, Messages], generator: LocalGenerator, settings: Generate, book: Journal, engine: Engine
) -> None:
    with console.progress() as bar:
        task = bar.add_task("asking", total=len(questions), note="loading the model")
        done, tokens, begun = 0, 0, time.monotonic()
        for arrived in local.ask(list(questions.values()), generator, settings.batch, engine):
            book.append(arrived)
            book.sync()
            tokens += sum(answer.output_tokens for answer in arrived)
            done += len(arrived)
            rate = done / (time.monotonic() - begun)
            bar.update(task, completed=done, note=f"{rate:.1f}/s, {tokens:,} tokens written")


def _ask_remotely(
    questions: Mapping[str, Messages], path: Path, name: str, generator: RemoteGenerator, settings: Generate
) -> None:
    Budget(name, generator, [])  # first of all: without a budget not even a journal is made
    spare = generator.concurrency * (ANSWER_BYTES + TOKEN_BYTES * generator.max_tokens)
    with journal.opened(path, spare) as book:
        paid, missing = _split(questions, path)
        budget = Budget(name, generator, paid)
        in_a_batch = isinstance(generator, OpenaiGenerator) and generator.mode == "batch"
        if missing and not in_a_batch:
            batch.stop_if_under_way(missing, path)
        if missing:
            known = len(missing) < len(questions)
            (batch if in_a_batch else runner).ask(missing, generator, settings, budget, book, known)
