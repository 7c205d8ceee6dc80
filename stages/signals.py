"""signals: read the answers of a generator, keep the ones that are signals, and say how good they are."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json, write_parquet
from lamar.signals.generate import read_items, read_responses
from lamar.signals.keep import judged
from lamar.signals.prompt import read_prompt
from lamar.signals.quality import quality


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/signals/DATASET/GENERATOR.parquet and metrics/DATASET/GENERATOR/quality.json."""
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    prompt = read_prompt(Path(f"data/proposals/{dataset}/{generator}.json"))
    items = read_items(Path("data/prepared", dataset))
    answers = read_responses(Path(f"data/responses/{dataset}/{generator}.jsonl"))
    encoder = Path("models/backbones", chosen.signals.encoder)
    signals = judged(answers, items, source.attributes, prompt, chosen.signals, encoder)
    write_parquet(Path(f"data/signals/{dataset}/{generator}.parquet"), signals)
    summary = quality(signals, items, source.attributes)
    write_json(Path(f"metrics/{dataset}/{generator}/quality.json"), summary)
    say(f"{summary['kept']:,} of {summary['items']:,} answers kept as signals; dropped: {summary['dropped'] or 'none'}")


if __name__ == "__main__":
    main()
