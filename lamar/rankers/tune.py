"""Teaching a run to rank pools, with all its seeds: one folder of weights each, and learning curves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lamar import params, tracking
from lamar.files import sha256_of, written_whole
from lamar.params import Params
from lamar.rankers.kinds import KINDS
from lamar.rankers.pools import Lessons
from lamar.training.checkpoint import Checkpoints, fingerprint
from lamar.training.examples import Sequences
from lamar.training.processes import process
from lamar.training.run import train
from lamar.training.watch import Watch


def tune(
    chosen: Params, dataset: str, run: str, sequences: Sequences, lessons: Lessons, files: list[Path]
) -> list[Path]:
    """Write models/DATASET/RUN/seed-SEED/ for every seed of the run and metrics/DATASET/curves/RUN.csv.

    files: what `sequences` and `lessons` were read from. Progress is kept in .checkpoints, so that a run that was cut
    off goes on. Returns the folders. Raises LamarError when a score is NaN or the disk is full.
    """
    settings = params.ranker(chosen, run)
    folders = {seed: Path("models", dataset, run, f"seed-{seed}") for seed in settings.seeds}
    tags = {"dataset": dataset, "run": run} | {f"sha256.{file.stem}": sha256_of(file) for file in files}

    @contextmanager
    def track(seed: int) -> Iterator[tracking.Tracker]:
        with tracking.run(chosen.tracking, f"{dataset} {run} seed {seed}", settings.model_dump(), tags) as tracker:
            yield tracker
            tracker.files(folders[seed])

    learn = partial(KINDS[settings.model].learn, chosen, sequences)

    def learned(run: Any, lessons: Lessons, seed: int, watch: Watch) -> Any:
        model = learn(run, lessons, seed, watch)
        if process().is_main:
            model.save(folders[seed])
        return model

    made_from = {
        "settings": settings.model_dump(exclude={"seeds"}),
        "files": tags,
        "llm": params.llm_sha256(chosen, settings),
    }
    checkpoints = Checkpoints(Path(".checkpoints", dataset, run), fingerprint(made_from))
    curve = train(learned, settings, lessons, track, checkpoints).curve
    if process().is_main:
        with written_whole(Path("metrics", dataset, "curves", f"{run}.csv")) as unfinished:
            curve.write_csv(unfinished)
        checkpoints.clear()
    process().leave()
    return list(folders.values())
