"""pools: what a ranker is asked: each user's last items and candidates, among which the next one is to be found."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_parquet


@click.command()
@click.argument("dataset")
@click.argument("ranker")
@click.argument("kind")
@user_errors
def main(dataset: str, ranker: str, kind: str) -> None:
    """Write data/pools/DATASET/KIND/RANKER.parquet."""
    import polars as pl

    from lamar.errors import LamarError
    from lamar.rankers import pools
    from lamar.training.examples import read_sequences

    chosen = params.load()
    wanted = params.entry(chosen.pools, "pool", kind)
    run = params.ranker(chosen, ranker, wanted.at_most)
    sequences = read_sequences(dataset, ranker)
    settings = (run.prompts.drawn(kind == chosen.tune.pools), run.history, wanted.candidates, run.pools_seed)
    if wanted.first is None:
        table = pools.draw(sequences.users, sequences.items.height, *settings)
    else:
        path = Path("data/retrieved", dataset, f"{wanted.first}.parquet")
        if not path.exists():
            raise LamarError(f"{path}: no such file; put {wanted.first} into matrix.retrievers and matrix.runs")
        table = pools.draw_best(sequences.users, pl.read_parquet(path), *settings)
    write_parquet(Path("data/pools", dataset, kind, f"{ranker}.parquet"), table)
    drawn = ", ".join(f"{count:,} {split}" for split, count in table["split"].value_counts().sort("split").iter_rows())
    present = table.filter(split="test").select(there=pl.col("place") != pools.MISSING)
    say(f"{dataset}, {ranker}: {kind}: {drawn}; the target is in {present['there'].mean():.1%} of the test pools")


if __name__ == "__main__":
    main()
