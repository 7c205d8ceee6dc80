"""transfer: rank a dataset by a model of items' texts that was trained on another one (zero-shot)."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.engine import ENGINES


@click.command()
@click.argument("dataset")
@click.argument("source")
@click.argument("run")
@user_errors
def main(dataset: str, source: str, run: str) -> None:
    """Write ranks/DATASET/full/RUN-from-SOURCE.parquet."""
    from lamar.evaluation import ranks
    from lamar.training.examples import read_sequences
    from lamar.transfer import transfer

    chosen = params.load()
    settings = params.entry(chosen.runs, "run", run)
    found = transfer(settings, read_sequences(dataset, run), Path("models", source, run), ENGINES[chosen.engine])
    ranks.write(Path("ranks", dataset, settings.protocol, f"{run}-from-{source}.parquet"), found)
    say(f"{dataset}: ranked by {run} as {source} taught it")


if __name__ == "__main__":
    main()
