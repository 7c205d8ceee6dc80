"""What a training leaves behind: weights, learning curves and ranks, on disk and in MLflow."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from lamar import tracking
from lamar.evaluation import ranks
from lamar.files import sha256_of, written_whole
from lamar.params import Params
from lamar.training.checkpoint import Checkpoints, fingerprint
from lamar.training.processes import process
from lamar.training.run import Examples, Trained, Trainer, train


def train_run(chosen: Params, dataset: str, run: str, trainer: Trainer, examples: Examples) -> None:
    """Train all seeds of a run and write models/DATASET/RUN, metrics/DATASET/curves/RUN.csv and its ranks table.

    Progress is kept in .checkpoints, so that a run that was cut off goes on. Raises LamarError when a score is NaN or
    the disk is full.
    """
    settings = chosen.runs[run]
    files = [file for kind in ("sequences", "encoded") for file in Path("data", kind, dataset, run).glob("*.parquet")]
    tags = {"dataset": dataset, "run": run} | {f"sha256.{file.stem}": sha256_of(file) for file in files}

    def track(seed: int) -> AbstractContextManager[tracking.Tracker]:
        return tracking.run(chosen.tracking, f"{dataset} {run} seed {seed}", settings.model_dump(), tags)

    made_from = {
        "settings": settings.model_dump(exclude={"seeds"}),
        "files": tags,
        "backbones": {name: backbone.sha256 for name, backbone in chosen.backbones.items()},
        "pretrained": {str(file): sha256_of(file) for file in Path("models/pretrained").glob("*/*.safetensors")},
    }
    checkpoints = Checkpoints(Path(".checkpoints", dataset, run), fingerprint(made_from))
    trained = train(trainer, settings, examples, track, checkpoints)
    if process().is_main:
        _write(trained, dataset, run, settings.protocol)
        checkpoints.clear()
    process().leave()


def _write(trained: Trained, dataset: str, run: str, protocol: str) -> None:
    from safetensors.torch import save_file

    models = Path("models", dataset, run)
    models.mkdir(parents=True, exist_ok=True)
    for seed, weights in trained.weights.items():
        with written_whole(models / f"seed-{seed}.safetensors") as unfinished:
            save_file(weights, unfinished)
    with written_whole(Path("metrics", dataset, "curves", f"{run}.csv")) as unfinished:
        trained.curve.write_csv(unfinished)
    ranks.write(Path("ranks", dataset, protocol, f"{run}.parquet"), trained.ranks)
