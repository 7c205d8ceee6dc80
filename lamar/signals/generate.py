"""Ask for the signal of every item, once: known answers come from journals, the rest from the LLM."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import polars as pl

from lamar import console
from lamar.engine import Engine, here
from lamar.errors import LamarError
from lamar.files import written_whole
from lamar.llm import asking, journal, provider
from lamar.llm.journal import Answer
from lamar.params import AGAIN, AnyGenerator, Generate
from lamar.signals.prompt import Messages, Prompt

SHIPPED = Path("data/journals")  # answers that come with the repository, read first
RESPONSES = Path("data/responses")  # what the stage wrote last, or what `dvc pull` brought


@dataclass(frozen=True)
class Question:
    """One item's question and the key under which its answer is kept."""

    item_id: str
    key: str
    messages: Messages


def questions(items: pl.DataFrame, attributes: list[str], prompt: Prompt, generator: AnyGenerator) -> list[Question]:
    """One question an item, in the order of `items` (columns item_id and the attributes)."""
    asked = provider.identity(generator)
    rows = items.select("item_id", *attributes).iter_rows(named=True)
    texts = [(row.pop("item_id"), prompt.messages(row)) for row in rows]
    return [Question(item_id, journal.key_of(asked, messages), messages) for item_id, messages in texts]


def journal_path(generator: AnyGenerator) -> Path:
    """The journal of a generator's model on this machine; a name like Qwen/Qwen2.5-7B makes no folder."""
    return journal.default_folder() / f"{quote(generator.model, safe='')}.jsonl"


def shipped_path(dataset: str, generator: str) -> Path:
    """The answers for a dataset that come with the repository."""
    return SHIPPED / dataset / f"{generator}.jsonl"


def responses_path(dataset: str, generator: str) -> Path:
    """The answers for a dataset that travel by a DVC remote."""
    return RESPONSES / dataset / f"{generator}.jsonl"


def read_items(prepared: Path) -> pl.DataFrame:
    """The items of a prepared dataset. Raises LamarError when it is not prepared."""
    try:
        return pl.read_parquet(prepared / "items.parquet")
    except FileNotFoundError:
        remedy = f"put {prepared.name} into matrix.datasets, then dvc repro prepare"
        raise LamarError(f"{prepared}/items.parquet: no such file; {remedy}") from None


def known_answers(dataset: str, name: str, generator: AnyGenerator) -> dict[str, Answer]:
    """The answers in this machine's journal, those that come with the repository and those of a remote, by key."""
    return {
        **remote_answers(dataset, name),
        **journal.read(journal_path(generator)),
        **journal.read(shipped_path(dataset, name)),
    }


def remote_answers(dataset: str, name: str) -> dict[str, Answer]:
    """First and second answers that travel by a DVC remote, as far as they are here."""
    return pulled(responses_path(dataset, name)) | pulled(responses_path(dataset, f"{name}{AGAIN}"))


def pulled(path: Path) -> dict[str, Answer]:
    """The answers that `write_responses` wrote; none when there is no such file."""
    if not path.exists():
        return {}
    answers = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            fields = json.loads(line)
            del fields["item_id"]
            answers[fields["key"]] = Answer(**fields)
        except (ValueError, TypeError, KeyError):
            raise LamarError(f"{path}:{number}: not an answer; bring it back with: dvc checkout {path}") from None
    return answers


def answers(
    asked: list[Question],
    dataset: str,
    name: str,
    generator: AnyGenerator,
    settings: Generate,
    earlier: list[Question] | None = None,
    engine: Engine = here,
) -> dict[str, Answer]:
    """Every question's answer by key; only what no journal holds is asked. Each answer is kept as it arrives.

    earlier: questions of another stage; what this machine has paid for their answers counts on the budget, too.
    engine: where a local model answers.
    Raises LamarError when a journal is broken or held by another process, when the weights, the key or the budget is
    missing, or when some questions got no answer.
    """
    known = known_answers(dataset, name, generator)
    distinct = {question.key: question.messages for question in asked}
    missing = distinct.keys() - known.keys()
    console.say(f"{len(distinct):,} questions about {len(asked):,} items, {len(missing):,} to ask {generator.model}")
    if missing:
        own_journal = journal.read(journal_path(generator))
        remote = remote_answers(dataset, name).keys() - own_journal.keys()
        others = remote | journal.read(shipped_path(dataset, name)).keys()
        paid = {question.key: question.messages for question in earlier or () if question.key in known}
        own = {key: messages for key, messages in (paid | distinct).items() if key not in others}
        asking.ask(own, journal_path(generator), name, generator, settings, engine)
        known = known_answers(dataset, name, generator)
    return {question.key: known[question.key] for question in asked}


def write_responses(asked: list[Question], answered: dict[str, Answer], path: Path) -> None:
    """The deterministic projection of the journal: one JSON line an item, sorted by item_id."""
    with written_whole(path) as unfinished, unfinished.open("w") as file:
        for question in sorted(asked, key=lambda question: question.item_id):
            known = sorted(vars(answered[question.key]).items())
            answer = {name: value for name, value in known if value is not None}
            file.write(json.dumps({"item_id": question.item_id, **answer}, ensure_ascii=False) + "\n")


def read_responses(path: Path) -> pl.DataFrame:
    """What `write_responses` wrote. Raises LamarError when it is not there."""
    try:
        return pl.read_ndjson(path, infer_schema_length=None)
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run dvc repro generate") from None


def share(keys: Collection[str], dataset: str, name: str, generator: AnyGenerator) -> tuple[Path, int]:
    """Copy the known answers of these keys, and all second answers, into the repository.

    Returns the file and how many there are. Raises LamarError when there is none.
    """
    known = known_answers(dataset, name, generator)
    path = shipped_path(dataset, name)
    second = pulled(responses_path(dataset, f"{name}{AGAIN}"))
    shared = sorted((set(keys) | second.keys()) & known.keys())
    if not shared:
        raise LamarError(f"no answers of {name} for {dataset} to share; run dvc repro generate first")
    with written_whole(path) as unfinished:
        unfinished.write_text("".join(journal.to_line(known[key]) for key in shared))
    return path, len(shared)
