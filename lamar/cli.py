"""The `lamar` command: what is done by hand beside the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.serving.commands import publish, recommend

if TYPE_CHECKING:
    from lamar.llm.journal import Answer
    from lamar.params import AnyGenerator, Params
    from lamar.signals.generate import Question


@click.group()
def main() -> None:
    """LLM-written semantic signals for sequential recommenders.

    The pipeline itself runs with `dvc repro`. DATASET and GENERATOR are entries of params.yaml.
    """


main.add_command(recommend)
main.add_command(publish)


@main.command()
@click.argument("dataset")
@click.argument("generator")
@click.option(
    "--questions",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many answers are asked for again.",
)
@click.option("--seed", default=0, show_default=True, help="Of the choice of questions.")
@user_errors
def verify_journal(dataset: str, generator: str, questions: int, seed: int) -> None:
    """Ask random questions again and compare the answers.

    Of those that GENERATOR, a local model, has answered for DATASET. Nothing is written to the journal.
    """
    from lamar.signals import verify

    asked, writer = _questions(dataset, generator)
    agreement = verify.verify(asked, dataset, generator, writer, params.load().generate.batch, questions, seed)
    for question, before, now in agreement.different:
        say(f"{question.item_id}\n  journal: {before}\n  now:     {now}")
    say(f"{agreement.same} of {agreement.asked} answers are repeated word for word by {writer.model}")
    share = agreement.best_tokens / agreement.tokens
    say(f"{agreement.best_tokens:,} of {agreement.tokens:,} tokens ({share:.1%}) are its own choice, but for rounding")


@main.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def share_answers(dataset: str, generator: str) -> None:
    """Copy this machine's answers into data/journals/.

    A clone of the repository then needs neither key nor model for the signals of GENERATOR for DATASET: neither to
    propose one, nor to write them, nor for second attempts.
    """
    from lamar.signals import generate
    from lamar.signals.prompt import answers_of, proposal_path

    asked, writer = _questions(dataset, generator)
    keys = {question.key for question in asked}
    proposed = answers_of(proposal_path(dataset, generator))
    path, answers = generate.share(keys | proposed, dataset, generator, writer)
    say(f"{path}: {answers:,} answers, {len(keys):,} questions about items; commit it with git")


def _questions(dataset: str, generator: str) -> tuple[list[Question], AnyGenerator]:
    """The questions that the stage `generate` asks, and who is asked."""
    from pathlib import Path

    from lamar.signals import generate
    from lamar.signals.prompt import load_prompt, proposal_path, read_prompt
    from lamar.signals.proposal import AUTO

    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    items = generate.read_items(Path("data/prepared", dataset))
    proposed = source.prompt == AUTO or generator in chosen.propose.strategies
    prompt = read_prompt(proposal_path(dataset, generator)) if proposed else load_prompt(source.prompt)
    return generate.questions(items, source.attributes, prompt, writer), writer


@main.command()
@click.option("--dataset", required=True, help="An entry of params.yaml, prepared.")
@click.option("--generator", required=True, help="An entry of params.yaml.")
@user_errors
def estimate(dataset: str, generator: str) -> None:
    """Say what asking an LLM would take; nothing is asked.

    Requests, tokens and USD of the signals of every item of DATASET by GENERATOR, and of proposing a signal where that
    is still to be done.
    """
    from lamar.signals.generate import known_answers
    from lamar.signals.prompt import proposal_path
    from lamar.signals.proposal import AUTO

    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    params.entry(chosen.generators, "generator", generator)
    proposed = source.prompt == AUTO or generator in chosen.propose.strategies
    if proposed and not proposal_path(dataset, generator).exists():
        asked, writer = _foreseen_questions(chosen, dataset, generator)
    else:
        asked, writer = _questions(dataset, generator)
    _say_estimate(dataset, asked, known_answers(dataset, generator, writer), writer)


def _say_estimate(dataset: str, asked: list[Question], known: dict[str, Answer], writer: AnyGenerator) -> None:
    """Print what asking the questions that have no known answer takes."""
    from lamar.llm import usage
    from lamar.params import LocalGenerator

    found = usage.estimate({question.key: question.messages for question in asked}, known, writer)
    click.echo(f"{dataset} by {writer.model}: {found.questions:,} questions, {found.missing:,} still to ask")
    click.echo(f"input tokens   {found.input_tokens:,} ({found.counted}), {found.most_input:,} at most")
    expected = "" if found.expected is None else f", {found.expected:,} at the mean length of the answers so far"
    click.echo(f"output tokens  {found.most:,} at most (max_tokens: {writer.max_tokens}){expected}")
    if isinstance(writer, LocalGenerator):
        click.echo("cost           none: the model is local")
        return
    for mode, usd in usage.costs(found, writer.price):
        click.echo(f"{mode:14} {usd}")
    click.echo(f"prices of {writer.price.as_of}; budget_usd: {writer.budget_usd or 'not set'}")


def _foreseen_questions(chosen: Params, dataset: str, generator: str) -> tuple[list[Question], AnyGenerator]:
    """Print what proposing a signal takes at most; the questions that may follow, and who is asked."""
    from pathlib import Path

    from lamar.llm.money import tokens_at_most
    from lamar.params import RemoteGenerator
    from lamar.signals import generate
    from lamar.signals.foreseen import ASSUMED, assumed_prompt, worst_chats
    from lamar.signals.proposal import DEFAULT

    source, writer, settings = chosen.datasets[dataset], chosen.generators[generator], chosen.propose
    items = generate.read_items(Path("data/prepared", dataset))
    chats = worst_chats(dataset, items, source, settings.strategies.get(generator, DEFAULT), settings)
    read, written = sum(map(tokens_at_most, chats)), len(chats) * settings.max_tokens
    paid = isinstance(writer, RemoteGenerator)
    usd = f", ${(read * writer.price.input + written * writer.price.output) / 1e6:,.4f}" if paid else ""
    click.echo(f"a proposal     {len(chats)} questions, {read:,} input and {written:,} output tokens{usd} at most")
    click.echo(f"then, if it has {ASSUMED}:")
    prompt = assumed_prompt(dataset, items, source, settings)
    return generate.questions(items, source.attributes, prompt, writer), writer


# As in lamar/report/tables.py, which is not imported for other commands.
TABLE_NAMES = (
    *(
        "main",
        "runs",
        "intervals",
        "changes",
        "significance",
        "groups",
        "buckets",
        "paper",
        "costs",
        "statistics",
        "quality",
    ),
    *("ratings", "judges", "similarity", "templates", "examples", "moves", "rankers", "made"),
)


@main.command()
@click.argument("name", type=click.Choice(TABLE_NAMES))
@click.option("--dataset", "datasets", multiple=True, help="Of these datasets; without it, of all that have results.")
@click.option("--format", "form", type=click.Choice(["markdown", "latex"]), default="markdown", show_default=True)
@user_errors
def table(name: str, datasets: tuple[str, ...], form: str) -> None:
    """Print a table of the report as text.

    The tables of the README are made so.
    """
    from pathlib import Path

    from lamar.report.chapter import chapters
    from lamar.report.tables import TABLES
    from lamar.report.text import FORMATS

    contents = chapters(Path(), params.load(), datasets)
    if absent := set(datasets) - {chapter.name for chapter in contents}:
        raise LamarError(f"metrics/{min(absent)}: no results; lamar table without --dataset shows where there are some")
    found = [table for chapter in contents for table in TABLES[name](chapter)]
    if not found:
        raise LamarError(f"no table {name}: nothing that it would show is here; run dvc repro first")
    click.echo(FORMATS[form](found), nl=False)


@main.command()
@click.argument("dataset")
@click.option("--machine", required=True, help='What trained, in words, such as "2 CPU cores".')
@user_errors
def times(dataset: str, machine: str) -> None:
    """Keep how long training took.

    MLflow knows it of this machine's runs; it is copied, for the results of DATASET that are here, into
    metrics/DATASET/times.json, which the report shows.
    """
    from pathlib import Path

    from lamar.files import write_json
    from lamar.report.times import collect, times_path

    found = collect(Path(), dataset, machine, params.load().tracking.experiment)
    if not found:
        raise LamarError(f"{dataset}: MLflow knows of no training that ended with the ranks in ranks/{dataset}")
    write_json(times_path(Path(), dataset), found)
    say(f"{times_path(Path(), dataset)}: {', '.join(found)}")


@main.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def rate(dataset: str, generator: str) -> None:
    """Write a sheet on which people rate signals.

    A page for the browser, and a CSV, with signals of GENERATOR for DATASET.
    """
    from pathlib import Path

    import polars as pl

    from lamar.analysis.ratings import QUESTIONS, read_sheet
    from lamar.analysis.sheet import sheet_page
    from lamar.files import written_whole

    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    params.entry(chosen.generators, "generator", generator)
    sheet = read_sheet(dataset, generator, attributes, chosen.ratings)
    page, table = (Path("sheets", f"{dataset}-{generator}.{kind}") for kind in ("html", "csv"))
    with written_whole(page) as unfinished:
        unfinished.write_text(sheet_page(dataset, generator, sheet), encoding="utf-8")
    with written_whole(table) as unfinished:
        sheet.with_columns(pl.lit("").alias(question) for question in QUESTIONS).write_csv(unfinished)
    say(f"{page}: rate in a browser and export, or fill {table}")
    say(f"then save the CSV as data/ratings/{dataset}/{generator}/NAME.csv")


@main.command()
@click.argument("dataset")
@click.argument("generator")
@click.option("--judge", required=True, help="An entry of generators: who is asked, within its budget.")
@user_errors
def judge(dataset: str, generator: str, judge: str) -> None:
    """Have an LLM rate the sheet that people rate.

    Signals of GENERATOR for DATASET; its answers are kept apart from the people's.
    """
    from pathlib import Path

    from lamar.analysis.judge import filled, sheet_questions, write_filled
    from lamar.analysis.ratings import QUESTIONS, read_sheet
    from lamar.signals.generate import answers

    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    params.entry(chosen.generators, "generator", generator)
    model = params.entry(chosen.generators, "generator", judge)
    sheet = read_sheet(dataset, generator, attributes, chosen.ratings)
    asked = sheet_questions(sheet, attributes, model)
    answered = answers(asked, dataset, judge, model, chosen.generate, earlier=_already_asked(dataset, judge))
    table = filled(sheet, asked, answered)
    path = write_filled(table, Path("data/ratings", dataset, generator), judge)
    unread = sum("" in row for row in table.select(*QUESTIONS).iter_rows())
    say(f"{path}: {table.height} signals rated by an LLM" + (f", {unread} of them not readably" if unread else ""))


def _already_asked(dataset: str, generator: str) -> list[Question]:
    """The questions about signals, whose answers count on a generator's budget; none before a prompt is proposed."""
    try:
        return _questions(dataset, generator)[0]
    except LamarError:
        return []
