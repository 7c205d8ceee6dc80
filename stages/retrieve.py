"""retrieve: the best items of a run of the whole catalogue for every user, which rankers then put in another order.

Of several seeds the first is used.
"""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_parquet


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write data/retrieved/DATASET/RUN.parquet."""
    from lamar.errors import LamarError
    from lamar.rankers.retrieve import best
    from lamar.serving.models import load
    from lamar.serving.repository import trained_run
    from lamar.training.examples import read_sequences

    chosen = params.load()
    settings = params.entry(chosen.runs, "run", run)
    sizes = [kind.candidates for kind in chosen.pools.values() if kind.first == run]
    if not sizes:
        raise LamarError(f"params.yaml: matrix.retrievers: {run} is not the `first` of any entry of pools")
    sequences = read_sequences(dataset, run)
    found = best(load(trained_run(chosen, dataset, run)), sequences.ids, sequences.test, max(sizes), settings)
    write_parquet(Path("data/retrieved", dataset, f"{run}.parquet"), found)
    share = (found["place"] < max(sizes)).mean()
    say(f"{dataset}, {run}: the target is among the best {max(sizes)} of {share:.1%} of the users")


if __name__ == "__main__":
    main()
