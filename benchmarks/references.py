"""Are our SASRec, BERT4Rec and S3-Rec as good and as fast as those of RecBole 1.2.1?

RecBole gets our interactions in our order, splits them by leave-one-out itself, and lives in an environment of its own
(`references_recbole.txt`), in which `references_recbole.py` trains it and counts the ranks of all test targets. From
these the metrics are computed by the code that computes ours. Nothing is compared before RecBole's test users, targets
and histories are those of our split, and the popularity of its training items ranks every target where ours does.

RecBole's settings are the documented ones: its defaults, and the values of its pages on tuning, one changed at a time;
the one that is best on validation with the first seed is trained with all of them. Ours are runs of params.yaml. Both
stop by validation NDCG@10 and rank with their best epoch. Speed is users a second: users times epochs, through the time
of all epochs with their validation. In an epoch of SASRec both predict every interaction of every training sequence; in
one of BERT4Rec RecBole masks every beginning of a sequence anew, ours every window of one. S3-Rec's epochs are those of
both its stages; RecBole's gets the attributes that ours reads. What was trained stays in .checkpoints/references, so
that a run that was cut off goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl

from lamar import params
from lamar.baselines.attributes import attribute_sets
from lamar.baselines.popularity import Popularity
from lamar.console import progress, say, user_errors
from lamar.errors import LamarError
from lamar.evaluation.metrics import summarise
from lamar.evaluation.ranks import SCHEMA
from lamar.files import sha256_of, write_json, write_parquet, written_whole
from lamar.report.text import Table, markdown
from lamar.report.words import mean
from lamar.text.histories import histories
from lamar.text.items import enriched
from lamar.training.examples import Sequences, Users, read_users

PRETRAINED = "S3Rec"
RUNS = {"SASRec": "sasrec-converged", "BERT4Rec": "bert4rec", PRETRAINED: "s3rec-original"}  # ours, of params.yaml
AMAZON_RUNS = {"SASRec": "sasrec-products", "BERT4Rec": "bert4rec-products", PRETRAINED: "s3rec-original-products"}
WORK = ".checkpoints/references"
# What lamar.training.memory does for ours: models are compared, not how glibc is set.
KEEP_FREED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
POPULARITY = "Popularity"
CURVE = ("stage", "epoch", "loss", "validation")
SHOWN = ("ndcg@10", "recall@10")
# RecBole's defaults, and the values of its pages on tuning these models that change one of them. Of S3Rec they tune how
# long it is pre-trained alone (the default is 500 epochs; the example on its page fine-tunes what 100 give).
DEFAULT = "default"
TUNED = {
    **{f"rate-{rate}": {"learning_rate": rate} for rate in (0.01, 0.005, 0.0005, 0.0001)},
    "one-layer": {"n_layers": 1},
    "one-head": {"n_heads": 1},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "SASRec": {
        DEFAULT: {},
        "dropout-0.2": {"hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},
        "three-layers": {"n_layers": 3},
        **TUNED,
    },
    "BERT4Rec": {DEFAULT: {}, "dropout-0.5": {"hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.5}, **TUNED},
    PRETRAINED: {f"pretrained-{epochs}": {"pretrain_epochs": epochs} for epochs in (50, 100, 150)},
    POPULARITY: {DEFAULT: {}},
}


@dataclass(frozen=True)
class Trained:
    """One seed. ranks: as contract 4 has them; seconds: of every epoch; validation: the best epoch's NDCG@10."""

    ranks: pl.DataFrame
    seconds: np.ndarray
    validation: float


Job = Callable[[Path, Callable[[str], None]], None]
"""Trains one seed: writes an .npz (user, item, greater, equal, candidates, seconds, validation), tells every epoch.

Ours has all of `CURVE`.
"""


def run_of(model: str, dataset: str) -> str:
    """Our run that is compared with a model of RecBole."""
    known = params.load().datasets.get(dataset)
    return (AMAZON_RUNS if known and known.reader == "amazon" else RUNS)[model]


def exported(work: Path, dataset: str) -> Path:
    """The folder of RecBole's atomic file. Its name is RecBole's dataset: `ml-100k` would be RecBole's own copy."""
    return work / f"lamar-{dataset}"


def export(folder: Path, interactions: pl.DataFrame) -> None:
    """Write RecBole's atomic file; its time is our position, so that equal times stay in our order."""
    columns = {"user": "user_id:token", "item": "item_id:token", "position": "timestamp:float"}
    _atomic(folder, "inter", interactions.select(*columns).rename(columns))


def export_attributes(folder: Path, attributes: pl.DataFrame) -> None:
    """Write RecBole's file of items: which of them has which attributes, as `attribute_sets` gives them, by number.

    With pandas 3 it cannot read an item that has none: there, that is one.
    """
    sets = [" ".join(str(number) for number in np.flatnonzero(row)) or "none" for row in attributes.to_numpy()]
    _atomic(folder, "item", pl.DataFrame({"item_id:token": range(len(sets)), "class:token_seq": sets}))


def _atomic(folder: Path, ending: str, table: pl.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / f"{folder.name}.{ending}") as unfinished:
        table.write_csv(unfinished, separator="\t", quote_style="never")


def recbole(python: str, folder: Path, model: str, settings: dict[str, Any]) -> Job:
    """A model of RecBole, trained by the Python of its environment."""
    script = Path(__file__).with_name("references_recbole.py").resolve()
    command = [python, str(script), str(folder.resolve()), model, json.dumps(settings)]

    def train(out: Path, tell: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory() as scratch, open(Path(scratch, "errors"), "w+") as errors:
            own = {"PYTHONPATH"} if Path(python).absolute() != Path(sys.executable).absolute() else set()
            environment = KEEP_FREED | {name: value for name, value in os.environ.items() if name not in own}
            arrays = Path(scratch, "ranks.npz")
            options = {"cwd": scratch, "env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            with subprocess.Popen([*command, str(arrays)], **options) as started:
                try:
                    for line in started.stdout:
                        tell(line.strip())
                except BaseException:
                    started.kill()
                    raise
            if started.returncode:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["no message"])[-1]
                raise LamarError(f"RecBole's {model} ended with {started.returncode}: {last}")
            out.write_bytes(arrays.read_bytes())

    return train


def ours(run: Any, sequences: Sequences, seed: int) -> Job:
    """A run of params.yaml, trained by the project's loop."""
    from lamar.models import TRAINERS
    from lamar.training.run import ranks_table
    from lamar.training.watch import Watch

    def train(out: Path, tell: Callable[[str], None]) -> None:
        epochs = []

        def seen(stage: int, epoch: Any) -> None:
            epochs.append({"stage": stage} | vars(epoch))
            tell(f"stage {stage}, epoch {epoch.epoch}, validation NDCG@10 {epoch.validation:.4f}")

        model = TRAINERS[run.model](run, sequences, seed, Watch(seen, lambda stage: None))
        ranks = ranks_table(model, sequences, run, seed).drop("seed")
        curve = {name: np.array([epoch[name] for epoch in epochs]) for name in (*CURVE, "seconds")}
        with out.open("wb") as file:
            np.savez(file, **{name: ranks[name].to_numpy() for name in ranks.columns}, **curve)

    return train


def kept(path: Path, job: Job, name: str) -> Path:
    """`path`, written by the job unless it is there, under a progress bar that tells the latest epoch."""
    if not path.exists():
        with progress() as bar, written_whole(path) as unfinished:
            task = bar.add_task(name, total=1, note="starting")
            job(unfinished, lambda note: bar.update(task, note=note))
            bar.update(task, completed=1)
    return path


def read(path: Path, seed: int) -> Trained:
    """What a job wrote; the users in order."""
    with np.load(path) as found:
        columns = {name: np.full(len(found["user"]), seed) if name == "seed" else found[name] for name in SCHEMA}
        best = float(found["validation"].max(initial=0))
        return Trained(pl.DataFrame(columns).cast(SCHEMA).sort("user"), found["seconds"], best)


def check(path: Path, users: Users, items: int) -> None:
    """Raise LamarError unless RecBole ranks our users' targets by our histories, and counts items as we do.

    path: what its popularity wrote.
    """
    with np.load(path) as found:
        order = np.argsort(found["user"])
        theirs = {name: found[name][order] for name in ("user", "item", "greater", "equal", "candidates", "histories")}
    longest = theirs["histories"].shape[1]
    cut = np.full((len(users.ids), longest), -1)
    for row, history in zip(cut, users.test.histories, strict=True):
        row[: min(longest, len(history))] = history[-longest:]
    greater, equal, candidates = popularity_ranks(users, items)
    own = {"user": users.ids, "item": users.test.targets, "histories": cut, "greater": greater, "equal": equal}
    for name, values in (own | {"candidates": np.full_like(greater, candidates)}).items():
        if not np.array_equal(theirs[name], values):
            raise LamarError(f"RecBole's popularity has another {name} for some user than our split: do not compare")


def popularity_ranks(users: Users, items: int) -> tuple[np.ndarray, np.ndarray, int]:
    """greater and equal (users,), and how many candidates, of our popularity."""
    from lamar.training import fit

    run = params.PopularityRun(model="popularity", features="original", seeds=[0])
    return fit.ranks(Popularity(users.train, items), users.test, run)


def summary(trained: Sequence[Trained], users: int) -> dict[str, Any]:
    """Over seeds: metrics with their standard deviations, epochs, seconds a seed and users a second."""
    metrics = summarise(pl.concat([one.ranks for one in trained]), "expected")
    seconds = sum(float(one.seconds.sum()) for one in trained)
    epochs = sum(len(one.seconds) for one in trained)
    return {
        "seeds": len(trained),
        **{name: metrics[name] for name in (*SHOWN, *(f"{shown}_std" for shown in SHOWN))},
        "validation_ndcg@10": round(float(np.mean([one.validation for one in trained])), 6),
        "epochs": round(epochs / len(trained), 1),
        "seconds": round(seconds / len(trained), 1),
        "users_per_second": round(users * epochs / seconds, 1),
    }


def table(models: dict[str, Any]) -> str:
    """Both sides of every model; the ratio of the speeds last."""
    head = ["model", "of", "setting", "NDCG@10", "Recall@10", "epochs", "s a seed", "users/s", "ratio"]
    rows = [
        [
            *(model, side, found[side]["setting"], *(mean(found[side], name, found[side]["seeds"]) for name in SHOWN)),
            *(f"{found[side][name]:,.1f}" for name in ("epochs", "seconds", "users_per_second")),
            f"{found['ratio']:.2f}" if side == "LaMAR" else "",
        ]
        for model, found in models.items()
        for side in ("RecBole", "LaMAR")
    ]
    return markdown(Table("", head, rows, text_columns=3))


@dataclass(frozen=True)
class Comparison:
    """What is compared on one dataset. work: where trained seeds are kept; epochs: at most, of both sides.

    defaults: the first of RecBole's settings alone, which are its defaults; keep: does a job unless it is done.
    """

    dataset: str
    python: str
    work: Path
    sequences: Sequences
    seeds: Sequence[int] = (0,)
    epochs: int | None = None
    defaults: bool = False
    keep: Callable[[Path, Job, str], Path] = kept

    @property
    def _exported(self) -> Path:
        return exported(self.work, self.dataset)

    def theirs(self, model: str, setting: str, seed: int) -> Path:
        """RecBole's model under a setting with one seed."""
        settings = dict(SETTINGS[model][setting])
        for limited in ("epochs", *(name for name in settings if name == "pretrain_epochs")):
            settings |= {limited: min(self.epochs, settings.get(limited, self.epochs))} if self.epochs else {}
        job = recbole(self.python, self._exported, model, settings | {"seed": seed})
        name = f"recbole-{model}-{setting}"
        return self.keep(self.path(name, settings, seed), job, f"{name} seed {seed}")

    def own(self, name: str, seed: int, **changes: Any) -> Path:
        """Our run of that name with one seed, with `changes` of its settings."""
        run = self.run(name, **changes)
        return self.keep(self.own_path(name, seed, **changes), ours(run, self.sequences, seed), f"{name} seed {seed}")

    def own_path(self, name: str, seed: int, **changes: Any) -> Path:
        """Where `own` keeps it."""
        return self.path(name, self.run(name, **changes).model_dump(mode="json", exclude={"seeds"}), seed)

    def run(self, name: str, **changes: Any) -> Any:
        """The settings of a run of ours."""
        run = params.load().runs[name].model_copy(update=changes)
        limited = {"epochs": min(run.epochs, self.epochs or run.epochs)}
        if first := getattr(run, "pretraining", None):
            limited["pretraining"] = first.model_copy(update={"epochs": min(first.epochs, self.epochs or first.epochs)})
        return run.model_copy(update=limited)

    def path(self, name: str, settings: dict[str, Any], seed: int) -> Path:
        """Where a training with these settings is kept."""
        read_from = sha256_of(self._exported / f"{self._exported.name}.inter")
        digest = hashlib.sha256(json.dumps([settings, read_from], sort_keys=True).encode()).hexdigest()[:12]
        return self.work / f"{name}-{digest}-{seed}.npz"

    def best_setting(self, model: str) -> str:
        """Of RecBole's settings, the one that is best on validation with the first seed."""
        first = self.seeds[0]
        tried = list(SETTINGS[model])[: 1 if self.defaults else None]
        validation = {setting: read(self.theirs(model, setting, first), first).validation for setting in tried}
        return max(validation, key=lambda setting: validation[setting])

    def compare(self, model: str) -> dict[str, Any]:
        """Both sides of a model with all seeds; the ratio of the speeds, ours by theirs."""
        users = len(self.sequences.ids)
        best = self.best_setting(model)
        theirs = summary([read(self.theirs(model, best, seed), seed) for seed in self.seeds], users)
        run = run_of(model, self.dataset)
        own = summary([read(self.own(run, seed), seed) for seed in self.seeds], users)
        return {
            "RecBole": {"setting": best} | theirs,
            "LaMAR": {"setting": run} | own,
            "ratio": round(own["users_per_second"] / theirs["users_per_second"], 2),
        }


def read_prepared(dataset: str, work: Path) -> Sequences:
    """Users and items of the prepared tables, exported for RecBole on the way."""
    prepared = Path("data/prepared", dataset)
    interactions, split = (pl.read_parquet(prepared / f"{name}.parquet") for name in ("interactions", "split"))
    export(exported(work, dataset), interactions)
    write_parquet(work / "histories.parquet", histories(interactions, split))
    return Sequences(read_users(str(work / "histories.parquet")), pl.read_parquet(prepared / "items.parquet"))


def with_attributes(dataset: str, work: Path, sequences: Sequences) -> Sequences:
    """Items as S3-Rec reads them, their attributes exported for RecBole on the way."""
    chosen = params.load()
    items = enriched(sequences.items, chosen.datasets[dataset].attributes, [])
    read = chosen.runs[RUNS[PRETRAINED]].pretraining.attributes
    export_attributes(exported(work, dataset), attribute_sets(items, read))
    return replace(sequences, items=items)


def interpreter(python: str) -> str:
    """The whole path of a Python: a path, or a name as a shell finds it."""
    if not (found := shutil.which(python)):
        raise LamarError(f"{python}: no such file; make RecBole's environment (docs/baselines.md) or name its --python")
    return str(Path(found).absolute())


@click.command()
@click.argument("dataset")
@click.option("--python", default=".references/bin/python", show_default=True, help="One that has RecBole.")
@click.option("--model", "models", multiple=True, type=click.Choice(list(RUNS)), help="Without it: all.")
@click.option("--defaults", is_flag=True, help="Try the first of RecBole's settings alone: its defaults.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many.")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="At most, of both sides; else RecBole's 300 and params.yaml's."
)
@user_errors
def main(dataset: str, python: str, models: Sequence[str], defaults: bool, seeds: int, epochs: int | None) -> None:
    """Write benchmarks/results/references-DATASET.json (with --epochs: references-DATASET-EPOCHS-epochs.json)."""
    python = interpreter(python)
    work = Path(WORK, dataset)
    models = models or list(RUNS)
    sequences = read_prepared(dataset, work)
    if PRETRAINED in models:
        sequences = with_attributes(dataset, work, sequences)
    comparison = Comparison(dataset, python, work, sequences, range(seeds), epochs, defaults)
    check(comparison.theirs(POPULARITY, DEFAULT, 0), sequences.users, sequences.items.height)
    say(f"RecBole has our {len(sequences.ids):,} test users, targets, histories and popularity")
    found = {model: comparison.compare(model) for model in models}
    out = Path("benchmarks/results", f"references-{dataset}{f'-{epochs}-epochs' if epochs else ''}.json")
    write_json(out, {"dataset": dataset, "users": len(sequences.ids), "machine": machine(), "models": found})
    click.echo(table(found), nl=False)


def machine() -> str:
    """What trains, and by how many threads."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


if __name__ == "__main__":
    main()
