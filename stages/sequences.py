"""sequences: write what a model reads under one choice of features: item texts, and histories with their targets."""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.files import written_whole
from lamar.text.histories import histories
from lamar.text.items import enriched, read_signals, shuffled


@click.command()
@click.argument("dataset")
@click.argument("features")
@user_errors
def main(dataset: str, features: str) -> None:
    """Write data/sequences/DATASET/FEATURES/items.parquet and histories.parquet."""
    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    wanted = params.entry(chosen.features, "features", features)
    signals = [read_signals(f"data/signals/{dataset}/{generator}.parquet") for generator in wanted.signals]
    if wanted.control == "shuffled":
        signals = [shuffled(signal, chosen.sequences.seed) for signal in signals]
    prepared = Path("data/prepared", dataset)
    tables = {
        "items": enriched(pl.read_parquet(prepared / "items.parquet"), attributes, signals),
        "histories": histories(
            pl.read_parquet(prepared / "interactions.parquet"), pl.read_parquet(prepared / "split.parquet")
        ),
    }
    for name, table in tables.items():
        with written_whole(Path("data/sequences", dataset, features, f"{name}.parquet")) as unfinished:
            table.write_parquet(unfinished, compression="zstd")
    say(f"{dataset}, {features}: {', '.join(tables['items'].columns[1:])}")


if __name__ == "__main__":
    main()
