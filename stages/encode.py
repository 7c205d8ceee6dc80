"""encode: the vectors of all items' texts, by a sentence encoder, for a run whose model reads them.

Over runs as `sequences` is, and for the same reason. For a run that reads no vectors it says so, and encodes nothing.
"""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.engine import ENGINES
from lamar.files import write_json, write_parquet


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write data/encoded/DATASET/RUN/kinds.json, and text.parquet and dropped.parquet if the run's model reads them."""
    chosen = params.load()
    settings = chosen.encode
    kinds = params.entry(chosen.runs, "run", run).vectors
    folder = Path("data/encoded", dataset, run)
    write_json(folder / "kinds.json", kinds)  # DVC would warn of an empty folder every time
    if kinds:
        from lamar.text.vectors import item_vectors

        items = pl.read_parquet(Path("data/sequences", dataset, run, "items.parquet"))
        encoder = Path("models/backbones", settings.encoder)
        for kind in kinds:
            share, seed = settings.word_drop, settings.seed
            table = item_vectors(items, kind, share, seed, encoder, ENGINES[chosen.engine])
            write_parquet(folder / f"{kind}.parquet", table)
    say(f"{dataset}, {run}: {', '.join(kinds) or 'no vectors'}")


if __name__ == "__main__":
    main()
