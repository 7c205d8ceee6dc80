"""Stage `prepare`: raw files to items, interactions and split, and the statistics."""

from __future__ import annotations

from pathlib import Path

import click

from lamar.console import user_errors
from lamar.data.prepare import prepare
from lamar.engine import ENGINES
from lamar.params import entry, load


@click.command()
@click.argument("dataset")
@user_errors
def main(dataset: str) -> None:
    """Prepare DATASET: data/raw to data/prepared and metrics/DATASET/statistics.json."""
    params = load()
    prepare(
        dataset,
        entry(params.datasets, "dataset", dataset),
        params.prepare,
        raw=Path("data/raw") / dataset,
        prepared=Path("data/prepared") / dataset,
        report=Path("metrics") / dataset / "statistics.json",
        engine=ENGINES[params.engine],
    )


if __name__ == "__main__":
    main()
