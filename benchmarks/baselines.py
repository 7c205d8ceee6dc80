"""Search the baselines' settings, then train their seeds side by side on one GPU, the most wanted first.

A small model leaves a GPU idle most of the time, so that several trainings share one. Each leaves one file in
.checkpoints/references, where benchmarks/references.py finds it, too: what is there is not trained again.

    python benchmarks/baselines.py search --limit 7200
    python benchmarks/baselines.py train --limit 600 --workers 12
    python benchmarks/baselines.py collect

`search` tries the same settings (SEARCH) for every model, one seed each, by validation NDCG@10 alone. What is trained
then has the best of those that were tried; what params.yaml has is kept where it is worse by no more than seeds differ
by (TIE). `collect` writes all that was tried to benchmarks/results/search.csv. Put the best into their entries under
`runs`: only runs all of whose seeds were trained with the settings of params.yaml are collected, as stages/train.py
would have left them (ranks and learning curves), for stages/evaluate.py.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import references
import torch
from references import POPULARITY, PRETRAINED, SETTINGS, WORK, Comparison

from lamar import params
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.evaluation import ranks as tables
from lamar.files import written_whole
from lamar.training.examples import read_sequences
from lamar.training.run import CURVE

FILMS, PRODUCTS = "ml-100k", "scientific"
SEARCH = [
    {"dropout": dropout, "learning_rate": rate} for rate, dropout in itertools.product((0.001, 0.002), (0.5, 0.35, 0.2))
]
TIE = 0.002  # about the standard deviation of NDCG@10 over seeds, of SASRec, S3-Rec and ZESRec on scientific
# Which run's search chooses the settings of which runs: that without signals for those with them, too.
SEARCHED = {
    PRODUCTS: {
        "sasrec-products": ["sasrec-products"],
        "bert4rec-products": ["bert4rec-products"],
        "s3rec-original-products": [f"s3rec-{features}-products" for features in ("original", "lamar")],
        "unisrec-ids-original-products": [
            f"unisrec-{ids}{features}-products" for ids in ("ids-", "") for features in ("original", "lamar")
        ],
        "zesrec-original-products": [f"zesrec-{features}-products" for features in ("original", "lamar")],
    },
    FILMS: {run: [run] for run in ("bert4rec", "s3rec-original")},
}
Changes = tuple[tuple[str, Any], ...]
"""Settings of a run by name, in other values."""

PUBLISHED = ["unisrec-published-original", "unisrec-published-lamar"]  # the authors' settings: not searched


@dataclass(frozen=True)
class Job:
    """One training. name: a run of params.yaml, or RecBole's model; setting: of RecBole's; changes: of the run."""

    dataset: str
    name: str
    seed: int
    setting: str = ""
    changes: Changes = ()


def searches() -> Iterator[Job]:
    """The trainings that choose settings."""
    for changes in SEARCH:
        for dataset, runs in SEARCHED.items():
            yield from (Job(dataset, run, 0, changes=tuple(changes.items())) for run in runs)


def wanted(seeds: int) -> Iterator[Job]:
    """All other trainings, the most wanted first."""
    first, further = range(seeds)[:3], range(seeds)[3:]
    chosen = {
        run: dict(best(dataset, source))
        for dataset, runs in SEARCHED.items()
        for source in runs
        for run in runs[source]
    }

    def own(dataset: str, run: str, some: range) -> Iterator[Job]:
        changes = tuple(chosen.get(run, {}).items())
        return (Job(dataset, run, seed, changes=changes) for seed in some)

    def theirs(dataset: str, model: str, some: range, setting: str = "") -> Iterator[Job]:
        return (Job(dataset, model, seed, setting or next(iter(SETTINGS[model]))) for seed in some)

    compared = [(model, references.run_of(model, PRODUCTS)) for model in references.RUNS]
    yield from (job for dataset in (PRODUCTS, FILMS) for job in theirs(dataset, POPULARITY, range(1)))
    for model, run in compared[:2]:
        yield from itertools.chain(own(PRODUCTS, run, first), theirs(PRODUCTS, model, first))
    for run in [*PUBLISHED, *(run for runs in SEARCHED[PRODUCTS].values() for run in runs)]:
        yield from own(PRODUCTS, run, first)
    for model in ("SASRec", "BERT4Rec"):
        yield from itertools.chain(own(FILMS, references.RUNS[model], range(seeds)), theirs(FILMS, model, first))
    yield from theirs(PRODUCTS, PRETRAINED, first)
    for model, run in compared[:2]:
        yield from itertools.chain(own(PRODUCTS, run, further), theirs(PRODUCTS, model, further))
        yield from theirs(FILMS, model, further)
    yield from own(FILMS, references.RUNS[PRETRAINED], range(seeds))
    for run in ["s3rec-original-products", *PUBLISHED]:
        yield from own(PRODUCTS, run, further)
    yield from theirs(PRODUCTS, PRETRAINED, further)
    yield from theirs(FILMS, PRETRAINED, first)
    for dataset, model in itertools.product((PRODUCTS, FILMS), ("SASRec", "BERT4Rec")):
        for setting in list(SETTINGS[model])[1:]:  # what RecBole documents for tuning
            yield from theirs(dataset, model, range(1), setting)


def best(dataset: str, run: str) -> Changes:
    """The settings that are best on validation, of those that were tried; none where none was."""
    return picked({changes: score for changes, score, _ in results(dataset, run)}, params.load().runs[run])


def picked(tried: dict[Changes, float], run: Any) -> Changes:
    """The best of the settings; those of the run itself, where they are worse by no more than TIE."""
    own = next((changes for changes in tried if all(getattr(run, name) == value for name, value in changes)), None)
    found = max(tried, key=lambda changes: tried[changes], default=())
    return own if own and tried[found] - tried[own] <= TIE else found


def results(dataset: str, run: str) -> Iterator[tuple[Changes, float, int]]:
    """Settings that were tried, the best validation NDCG@10 (of fine-tuning) and its epoch."""
    comparison = comparison_of(dataset)
    for changes in SEARCH:
        path = comparison.own_path(run, 0, **changes)
        if path.exists():
            with np.load(path) as found:
                last = found["stage"] == found["stage"].max()
                scores = found["validation"][last]
                yield tuple(changes.items()), float(scores.max()), int(found["epoch"][last][scores.argmax()])


def comparison_of(dataset: str, python: str = "", sequences: Any = None, **options: Any) -> Comparison:
    """What trains, or finds what was trained."""
    return Comparison(dataset, python, Path(WORK, dataset), sequences, **options)


class TimeUpError(Exception):
    """A training was given up: no time is left."""


@dataclass(frozen=True)
class Worker:
    """Does jobs, one after the other. until: of time.time(), when the one at hand is given up."""

    python: str
    until: float
    epochs: int | None

    def __call__(self, job: Job) -> tuple[Job, str]:
        """What became of it."""
        started = time.time()
        if started > self.until:
            return job, "not begun"
        try:
            self._train(job)
        except TimeUpError:
            return job, f"given up after {time.time() - started:.0f} s"
        except Exception as error:
            if not isinstance(error, LamarError):
                traceback.print_exc()
            return job, f"failed: {error}"
        finally:
            torch.cuda.empty_cache()  # what it keeps for itself is missing elsewhere
        return job, f"{time.time() - started:.0f} s"

    def _train(self, job: Job) -> None:
        options = {"epochs": self.epochs, "keep": self._kept}
        if job.setting:
            comparison_of(job.dataset, self.python, **options).theirs(job.name, job.setting, job.seed)
        else:
            sequences = read_sequences(job.dataset, job.name)
            comparison = comparison_of(job.dataset, **options, sequences=sequences)
            comparison.own(job.name, job.seed, **dict(job.changes))

    def _kept(self, path: Path, train: references.Job, name: str) -> Path:
        if not path.exists():
            with written_whole(path) as unfinished:
                train(unfinished, self._tell)
        return path

    def _tell(self, note: str) -> None:
        if time.time() > self.until:
            raise TimeUpError


def done(jobs: list[Job], workers: int, worker: Callable[[Job], tuple[Job, str]]) -> None:
    """Do the jobs by so many processes, and say what became of each."""
    started = time.time()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for job, outcome in pool.imap_unordered(worker, list(dict.fromkeys(jobs)), chunksize=1):
            changes = ", ".join(f"{name} {value}" for name, value in job.changes)
            what = " ".join(filter(None, (job.dataset, job.name, job.setting, f"seed {job.seed}", changes)))
            say(f"{time.time() - started:4.0f} s: {what}: {outcome}")


@click.group()
def main() -> None:
    """Train the baselines side by side, and collect what was trained."""


@main.command()
@click.option("--limit", type=click.IntRange(min=1), default=7200, show_default=True, help="Seconds.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="On a CPU one is quickest.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most, of everything: to try whether it runs.")
@user_errors
def search(limit: int, workers: int, epochs: int | None) -> None:
    """Try the settings: 42 trainings, on two cores a minute or two each."""
    until = time.time() + limit
    prepare()
    done(list(searches()), workers, Worker("", until, epochs))


@main.command()
@click.option("--limit", type=click.IntRange(min=1), default=300, show_default=True, help="Seconds.")
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="At most.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most, of everything: to try whether it runs.")
@click.option("--python", default=".references/bin/python", show_default=True, help="One that has RecBole.")
@user_errors
def train(limit: int, workers: int, seeds: int, epochs: int | None, python: str) -> None:
    """Train RecBole's models and ours, with the best settings that were found."""
    until = time.time() + limit
    python = references.interpreter(python)
    prepare()
    done(list(wanted(seeds)), workers, Worker(python, until, epochs))


def prepare() -> None:
    """Export the datasets for RecBole, which also says what trainings are of."""
    for dataset in SEARCHED:
        work = Path(WORK, dataset)
        references.with_attributes(dataset, work, references.read_prepared(dataset, work))


@main.command()
@user_errors
def collect() -> None:
    """Write ranks and learning curves of what was trained with the settings of params.yaml, and what was searched."""
    prepare()
    table = [
        {"dataset": dataset, "run": run} | dict(changes) | {"validation_ndcg@10": round(score, 6), "epoch": epoch}
        for dataset, runs in SEARCHED.items()
        for run in runs
        for changes, score, epoch in results(dataset, run)
    ]
    if table:
        with written_whole(Path("benchmarks/results/search.csv")) as unfinished:
            pl.DataFrame(table).write_csv(unfinished)
    for dataset in SEARCHED:
        for run in sorted({job.name for job in wanted(5) if job.dataset == dataset and not job.setting}):
            comparison = comparison_of(dataset)
            trained = {seed: comparison.own_path(run, seed) for seed in params.load().runs[run].seeds}
            missing = ", ".join(str(seed) for seed, path in trained.items() if not path.exists())
            if not missing:
                write(dataset, run, trained)
            say(f"{dataset}, {run}: {f'left out, without seeds {missing}' if missing else 'collected'}")


def write(dataset: str, run: str, trained: dict[int, Path]) -> None:
    """As stages/train.py does, but for the weights; `trained`: the file of each seed."""
    curves = []
    for seed, path in trained.items():
        with np.load(path) as found:
            columns = [found["stage"], found["epoch"], found["loss"].round(6), found["validation"].round(6)]
            curves += [(seed, *line) for line in zip(*(column.tolist() for column in columns), strict=True)]
    with written_whole(Path("metrics", dataset, "curves", f"{run}.csv")) as unfinished:
        pl.DataFrame(curves, schema=CURVE, orient="row").write_csv(unfinished)
    ranks = pl.concat([references.read(path, seed).ranks for seed, path in trained.items()])
    tables.write(Path("ranks", dataset, "full", f"{run}.parquet"), ranks)


if __name__ == "__main__":
    main()
