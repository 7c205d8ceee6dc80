"""train: train one run (a model on one choice of features) with all its seeds, and rank every user's test item.

Progress is kept in .checkpoints after every epoch: a run that was killed goes on from there with the next `dvc repro`.
"""

from contextlib import AbstractContextManager
from pathlib import Path

import click

from lamar import params, tracking
from lamar.console import user_errors
from lamar.files import sha256_of, written_whole


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write ranks/DATASET/PROTOCOL/RUN.parquet, metrics/DATASET/curves/RUN.csv and models/DATASET/RUN/."""
    from safetensors.torch import save_file

    from lamar.evaluation import ranks
    from lamar.models import MODELS
    from lamar.training.checkpoint import Checkpoints, fingerprint
    from lamar.training.run import train

    chosen = params.load()
    settings = params.entry(chosen.runs, "run", run)
    folder = Path("data/sequences", dataset, run)
    tags = {"dataset": dataset, "run": run} | {f"sha256.{file.stem}": sha256_of(file) for file in folder.iterdir()}

    def track(seed: int) -> AbstractContextManager[tracking.Tracker]:
        return tracking.run(chosen.tracking, f"{dataset} {run} seed {seed}", settings.model_dump(), tags)

    made_from = {
        "settings": settings.model_dump(exclude={"seeds"}),
        "files": tags,
        "backbones": {name: backbone.sha256 for name, backbone in chosen.backbones.items()},
    }
    checkpoints = Checkpoints(Path(".checkpoints", dataset, run), fingerprint(made_from))
    trained = train(settings, MODELS[settings.model].read(chosen, dataset, run), track, checkpoints)
    models = Path("models", dataset, run)
    models.mkdir(parents=True, exist_ok=True)
    for seed, weights in trained.weights.items():
        with written_whole(models / f"seed-{seed}.safetensors") as unfinished:
            save_file(weights, unfinished)
    with written_whole(Path("metrics", dataset, "curves", f"{run}.csv")) as unfinished:
        trained.curve.write_csv(unfinished)
    ranks.write(Path("ranks", dataset, settings.protocol, f"{run}.parquet"), trained.ranks)
    checkpoints.clear()


if __name__ == "__main__":
    main()
