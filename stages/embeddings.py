"""embeddings: vectors of a generator's signals and of the items' own texts, by one similarity model."""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.engine import ENGINES
from lamar.files import write_parquet


@click.command()
@click.argument("dataset")
@click.argument("generator")
@click.argument("similarity")
@user_errors
def main(dataset: str, generator: str, similarity: str) -> None:
    """Write data/embeddings/DATASET/GENERATOR/SIMILARITY.parquet."""
    from lamar.analysis.embeddings import embeddings

    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    pooling = params.entry(chosen.backbones, "backbone", similarity).pooling
    signals = pl.read_parquet(f"data/signals/{dataset}/{generator}.parquet")
    items = pl.read_parquet(f"data/prepared/{dataset}/items.parquet")
    encoder = Path("models/backbones", similarity)
    vectors = embeddings(signals, items, attributes, encoder, pooling, ENGINES[chosen.engine])
    write_parquet(Path("data/embeddings", dataset, generator, f"{similarity}.parquet"), vectors)
    say(f"{dataset}, {generator}: {vectors.height:,} signals and their items by {similarity}")


if __name__ == "__main__":
    main()
