"""pools: what a ranker is asked: each user's last items and, among random candidates, the next one."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_parquet


@click.command()
@click.argument("dataset")
@click.argument("ranker")
@user_errors
def main(dataset: str, ranker: str) -> None:
    """Write data/pools/DATASET/RANKER.parquet."""
    from lamar.rankers import pools
    from lamar.training.examples import read_sequences

    run = params.ranker(params.load(), ranker)
    sequences = read_sequences(dataset, ranker)
    counts = run.prompts.model_dump()
    table = pools.draw(sequences.users, sequences.items.height, counts, run.history, run.candidates, run.pools_seed)
    write_parquet(Path("data/pools", dataset, f"{ranker}.parquet"), table)
    drawn = dict(table["split"].value_counts().iter_rows())
    say(f"{dataset}, {ranker}: pools of {run.candidates}: {', '.join(f'{drawn[name]:,} {name}' for name in counts)}")


if __name__ == "__main__":
    main()
