"""signals: read the answers of a generator, keep the ones that are signals, and say how good they are."""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json, write_parquet
from lamar.signals.generate import read_items, read_responses
from lamar.signals.parse import clean, problem
from lamar.signals.prompt import load_prompt
from lamar.signals.quality import quality


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/signals/DATASET/GENERATOR.parquet and metrics/DATASET/GENERATOR/quality.json."""
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    name = load_prompt(source.prompt).signal
    items = read_items(Path("data/prepared", dataset))
    titles = dict(items.select("item_id", source.attributes[0]).iter_rows())
    answers = read_responses(Path(f"data/responses/{dataset}/{generator}.jsonl"))
    rows = []
    for item_id, text, finish_reason in answers.select("item_id", "text", "finish_reason").iter_rows():
        signal = clean(text, name)
        reason = problem(signal, titles[item_id], finish_reason, chosen.signals)
        rows.append((item_id, name, signal, reason is None, reason or ""))
    schema = {"item_id": pl.String, "name": pl.String, "signal": pl.String, "kept": pl.Boolean, "reason": pl.String}
    signals = pl.DataFrame(rows, schema=schema, orient="row")
    write_parquet(Path(f"data/signals/{dataset}/{generator}.parquet"), signals)
    summary = quality(signals, items, source.attributes)
    write_json(Path(f"metrics/{dataset}/{generator}/quality.json"), summary)
    say(f"{summary['kept']:,} of {summary['items']:,} answers kept as signals; dropped: {summary['dropped'] or 'none'}")


if __name__ == "__main__":
    main()
