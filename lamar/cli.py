"""The `lamar` command: what is done by hand beside the pipeline."""

from __future__ import annotations

import click

from lamar import params
from lamar.console import say, user_errors


@click.group()
def main() -> None:
    """LLM-written semantic signals for sequential recommenders. The pipeline itself runs with `dvc repro`."""


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
    """Ask random questions of DATASET again and say how many answers of the journal the model repeats."""
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
    """Copy this machine's answers for DATASET into data/journals/, so that a clone needs neither key nor model."""
    from lamar.signals import generate

    asked, writer = _questions(dataset, generator)
    path, answers = generate.share(asked, dataset, generator, writer)
    say(f"{path}: {answers:,} answers to {len(asked):,} questions; commit it with git")


def _questions(dataset: str, generator: str):  # noqa: ANN202
    """The questions that the stage `generate` asks, and who is asked."""
    from pathlib import Path

    from lamar.signals import generate
    from lamar.signals.prompt import load_prompt

    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    items = generate.read_items(Path("data/prepared", dataset))
    return generate.questions(items, source.attributes, load_prompt(source.prompt), writer), writer


@main.command()
@click.option("--dataset", required=True, help="An entry of params.yaml, prepared.")
@click.option("--generator", required=True, help="An entry of params.yaml.")
@user_errors
def estimate(dataset: str, generator: str) -> None:
    """Say what asking GENERATOR about DATASET would take, before anything is asked: requests, tokens, USD."""
    from lamar.llm import usage
    from lamar.params import LocalGenerator
    from lamar.signals.generate import known_answers

    asked, writer = _questions(dataset, generator)
    known = known_answers(dataset, generator, writer)
    found = usage.estimate({question.key: question.messages for question in asked}, known, writer)
    click.echo(f"{dataset} by {writer.model}: {found.questions:,} questions, {found.missing:,} still to ask")
    click.echo(f"input tokens   {found.input_tokens:,} ({found.counted})")
    expected = "" if found.expected is None else f", {found.expected:,} at the mean length of the answers so far"
    click.echo(f"output tokens  {found.most:,} at most (max_tokens: {writer.max_tokens}){expected}")
    if isinstance(writer, LocalGenerator):
        click.echo("cost           none: the model is local")
        return
    for mode, usd in usage.costs(found, writer.price):
        click.echo(f"{mode:14} {usd}")
    click.echo(f"prices of {writer.price.as_of}; budget_usd: {writer.budget_usd or 'not set'}")


@main.command()
@click.argument("dataset")
@user_errors
def table(dataset: str) -> None:
    """Print the results of DATASET as a markdown table: the ones in the README are made so."""
    from pathlib import Path

    from lamar.report import markdown
    from lamar.report.results import load_results

    results = load_results(Path("metrics"), list(params.load().runs))
    click.echo(markdown.table(params.entry(results, "dataset with results", dataset)), nl=False)
