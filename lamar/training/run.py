"""Train one run with all its seeds: test ranks, learning curves and weights out, MLflow told on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch

from lamar import console
from lamar.evaluation.metrics import summarise
from lamar.evaluation.ranks import SCHEMA
from lamar.params import AnyRun
from lamar.tracking import Tracker
from lamar.training import fit
from lamar.training.checkpoint import Checkpoints
from lamar.training.course import Epoch
from lamar.training.examples import Split
from lamar.training.watch import Watch

CURVE = {"seed": pl.Int32, "stage": pl.Int32, "epoch": pl.Int32, "loss": pl.Float64, "validation_ndcg@10": pl.Float64}

Track = Callable[[int], AbstractContextManager[Tracker]]
"""Opens the tracking of one seed."""

Trainer = Callable[[Any, Any, int, Watch], Any]
"""Trains one seed: from a run's settings and its examples to a model."""


class Examples(Protocol):
    """What a model is trained on and ranks; of it, what is ranked in the end.

    test: histories, and the columns of their targets in the model's scores; ids: the users, targets: the items.
    """

    test: Split
    ids: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Trained:
    """What a run leaves: test ranks of all seeds, learning curves, and the weights of each seed."""

    ranks: pl.DataFrame
    curve: pl.DataFrame
    weights: dict[int, dict[str, torch.Tensor]]


def train(
    trainer: Trainer, run: AnyRun, examples: Examples, track: Track, checkpoints: Checkpoints | None = None
) -> Trained:
    """Train `run` once per seed by `trainer` and rank the test targets with each.

    With `checkpoints`, a training that was cut off goes on where it stood, seeds that were done included.
    Raises LamarError when a score is NaN.
    """
    ranks, curve, weights = [], [], {}
    for seed in run.seeds:
        with track(seed) as tracker:
            model = _train_seed(trainer, run, examples, seed, tracker, curve, checkpoints)
            ranks.append(ranks_table(model, examples, run, seed))
            tracker.metrics(summarise(ranks[-1], "expected"))
        weights[seed] = model.state_dict()
    return Trained(pl.concat(ranks), pl.DataFrame(curve, schema=CURVE, orient="row"), weights)


def _train_seed(
    trainer: Trainer,
    run: AnyRun,
    examples: Examples,
    seed: int,
    tracker: Tracker,
    curve: list[tuple[Any, ...]],
    checkpoints: Checkpoints | None,
) -> Any:
    """Train with one seed under a progress bar, adding a line to `curve` for every epoch."""
    further = [getattr(run, stage, 0) for stage in ("second_epochs", "pretraining_epochs")]
    epochs = getattr(run, "epochs", 1) + sum(further)
    with console.progress() as bar:
        task = bar.add_task(f"{run.model} {run.features} seed {seed}", total=epochs, note="starting")

        def seen(stage: int, epoch: Epoch) -> None:
            curve.append((seed, stage, epoch.epoch, round(epoch.loss, 6), round(epoch.validation, 6)))
            values = {"loss": epoch.loss, "validation_ndcg@10": epoch.validation, "seconds": epoch.seconds}
            tracker.epoch(values, step=sum(line[0] == seed for line in curve))
            bar.update(task, advance=1, note=f"loss {epoch.loss:.3f}, validation NDCG@10 {epoch.validation:.4f}")

        def note(text: str) -> None:
            bar.update(task, note=text)

        def spent(seconds: float) -> None:
            tracker.epoch({"seconds": seconds}, step=0)

        watch = Watch(seen, lambda stage: checkpoints and checkpoints.of(seed, stage), note, spent)
        model = trainer(run, examples, seed, watch)
        bar.update(task, completed=epochs)
    return model


def ranks_table(model: Any, examples: Examples, run: AnyRun, seed: int) -> pl.DataFrame:
    """The ranks table (contract 4) of one seed."""
    greater, equal, candidates = fit.ranks(model, examples.test, run)
    columns = (examples.ids, examples.targets, seed, greater, equal, candidates)
    frame = pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)))
    return frame.cast(SCHEMA)
