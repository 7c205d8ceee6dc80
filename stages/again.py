"""again: ask once more for the signals that were rejected, saying why, and judge all of them anew."""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json, write_parquet
from lamar.llm.recorded import stop_before_paying_again
from lamar.llm.usage import usage
from lamar.signals import generate
from lamar.signals.again import second_questions
from lamar.signals.keep import judged
from lamar.signals.prompt import read_prompt
from lamar.signals.quality import quality


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write the responses, signals and quality of GENERATOR-again for DATASET; its usage is the second answers' alone.

    Only what no journal holds is asked.
    """
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    name = f"{generator}{params.AGAIN}"
    items = generate.read_items(Path("data/prepared", dataset))
    prompt = read_prompt(Path(f"data/proposals/{dataset}/{generator}.json"))
    responses = generate.read_responses(generate.responses_path(dataset, generator))
    known = generate.pulled(generate.responses_path(dataset, generator))
    before = pl.read_parquet(f"data/signals/{dataset}/{generator}.parquet")

    first = generate.questions(items, source.attributes, prompt, writer)
    second = second_questions(first, responses, before, writer)
    path = generate.responses_path(dataset, name)
    if not {question.key for question in second} <= generate.known_answers(dataset, generator, writer).keys():
        stop_before_paying_again(path, writer)
    answered = generate.answers(second, dataset, generator, writer, chosen.generate, earlier=first)
    latest = {question.item_id: question for question in [*first, *second]}
    generate.write_responses(list(latest.values()), known | answered, path)

    encoder = Path("models/backbones", chosen.signals.encoder)
    after = judged(generate.read_responses(path), items, source.attributes, prompt, chosen.signals, encoder)
    write_parquet(Path(f"data/signals/{dataset}/{name}.parquet"), after)
    write_json(Path(f"metrics/{dataset}/{name}/quality.json"), quality(after, items, source.attributes))
    write_json(Path(f"metrics/{dataset}/{name}/usage.json"), usage(answered.values(), writer))
    say(f"{len(second):,} asked again: {before['kept'].sum():,} signals before, {after['kept'].sum():,} now")


if __name__ == "__main__":
    main()
