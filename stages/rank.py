"""rank: rank every test pool with each seed of a run, and check what the ranks do not tell."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json


@click.command()
@click.argument("dataset")
@click.argument("run")
@click.argument("kind")
@user_errors
def main(dataset: str, run: str, kind: str) -> None:
    """Write ranks/DATASET/KIND/RUN.parquet and metrics/DATASET/KIND/RUN.checks.json."""
    from lamar.evaluation import ranks
    from lamar.rankers.pools import read_asked
    from lamar.rankers.rank import rank
    from lamar.training.examples import read_sequences

    chosen = params.load()
    wanted = params.entry(chosen.pools, "pool", kind)
    settings = params.ranker(chosen, run, wanted.at_most)
    sequences = read_sequences(dataset, run)
    catalogue = sequences.items.height if wanted.first else None
    asked = read_asked(f"data/pools/{dataset}/{kind}/{run}.parquet")
    table, checks = rank(chosen, settings, sequences, asked, Path("models", dataset, run), catalogue)
    ranks.write(Path("ranks", dataset, kind, f"{run}.parquet"), table)
    write_json(Path("metrics", dataset, kind, f"{run}.checks.json"), checks)
    orders, free = checks["orders"], checks["free"]
    moved = f"in another order targets move by {orders['rank_change']:.2f} places"
    say(f"{dataset}, {run}, {kind}: {moved}; {free['outside']} of {free['answers']} free answers are in no pool")


if __name__ == "__main__":
    main()
