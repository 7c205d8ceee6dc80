"""Stage `fetch`: the raw files of a dataset, from the first source that gives them."""

from __future__ import annotations

from pathlib import Path

import click

from lamar.console import user_errors
from lamar.data.sources import fetch_dataset
from lamar.params import entry, load


@click.command()
@click.argument("dataset")
@user_errors
def main(dataset: str) -> None:
    """Bring the raw files of DATASET to data/raw/DATASET."""
    fetch_dataset(dataset, entry(load().datasets, "dataset", dataset), Path("data/raw") / dataset)


if __name__ == "__main__":
    main()
