"""train: train one run (a model on one choice of features) with all its seeds, and rank every user's test item.

Progress is kept in .checkpoints after every epoch: a run that was killed goes on from there with the next `dvc repro`.
"""

import click

from lamar import launch, params
from lamar.console import user_errors
from lamar.errors import LamarError


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write ranks/DATASET/full/RUN.parquet, metrics/DATASET/curves/RUN.csv and models/DATASET/RUN/."""
    from lamar.models import TOGETHER, TRAINERS
    from lamar.training.examples import read_sequences
    from lamar.training.outputs import train_run

    chosen = params.load()
    settings = params.entry(chosen.runs, "run", run)
    if settings.model not in TRAINERS:
        raise LamarError(f"params.yaml: matrix.runs: {run} ranks pools of candidates; list it under matrix.rankers")
    if settings.model not in TOGETHER:
        launch.refuse_several(f"stages/train.py {dataset} {run}")
    train_run(chosen, dataset, run, TRAINERS[settings.model], read_sequences(dataset, run))


if __name__ == "__main__":
    main()
