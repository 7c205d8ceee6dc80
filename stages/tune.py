"""tune: teach a run to pick the next item from a pool, with all its seeds: for an LLM, fine-tune its adapter.

Progress is kept in .checkpoints after every epoch and seed, within an LLM's epoch every minute: a run that was killed
goes on from there.
"""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write models/DATASET/RUN/seed-SEED/ and metrics/DATASET/curves/RUN.csv."""
    from lamar.files import sha256_of
    from lamar.rankers.pools import read_lessons
    from lamar.rankers.tune import tune
    from lamar.training.examples import read_sequences

    chosen = params.load()
    asked = Path("data/pools", dataset, chosen.tune.pools, f"{run}.parquet")
    files = [*sorted(Path("data/sequences", dataset, run).glob("*.parquet")), asked]
    folders = tune(chosen, dataset, run, read_sequences(dataset, run), read_lessons(str(asked)), files)
    for weights in (file for folder in folders for file in sorted(folder.glob("*.safetensors"))):
        say(f"{weights}: sha256 {sha256_of(weights)}")


if __name__ == "__main__":
    main()
