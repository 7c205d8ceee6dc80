"""sequences: write what a run's model reads: item texts under the run's features, histories and their targets.

Over runs rather than features, so that a run depends on its own sequences alone: another choice of features added to
params.yaml trains nothing again. Equal files are one file in DVC's cache.
"""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.files import write_parquet
from lamar.text.controls import CONTROLS, WITHOUT_ATTRIBUTES
from lamar.text.histories import histories
from lamar.text.items import enriched, read_signals


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write data/sequences/DATASET/RUN/items.parquet and histories.parquet."""
    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    features = params.entry(chosen.runs, "run", run).features
    wanted = params.entry(chosen.features, "features", features)
    prepared = Path("data/prepared", dataset)
    items = pl.read_parquet(prepared / "items.parquet")
    signals = [read_signals(f"data/signals/{dataset}/{generator}.parquet") for generator in wanted.signals]
    try:
        read = [CONTROLS[wanted.control](signal, items, chosen.sequences.seed) for signal in signals]
    except LamarError as error:
        raise LamarError(f"features {features!r} of dataset {dataset!r}: {error}") from None
    tables = {
        "items": enriched(items, [] if wanted.control in WITHOUT_ATTRIBUTES else attributes, read),
        "histories": histories(
            pl.read_parquet(prepared / "interactions.parquet"), pl.read_parquet(prepared / "split.parquet")
        ),
    }
    for name, table in tables.items():
        write_parquet(Path("data/sequences", dataset, run, f"{name}.parquet"), table)
    say(f"{dataset}, {run} reads {', '.join(tables['items'].columns[1:])}")


if __name__ == "__main__":
    main()
