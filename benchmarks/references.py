"""Are our SASRec and BERT4Rec as good and as fast as those of RecBole 1.2.1?

RecBole gets our interactions in our order, splits them by leave-one-out itself, and lives in an environment of its own
(`references_recbole.txt`), in which `references_recbole.py` trains it and counts the ranks of all test targets. From
these the metrics are computed by the code that computes ours. Nothing is compared before RecBole's test users, targets
and histories are those of our split, and the popularity of its training items ranks every target where ours does.

RecBole's settings are the documented ones: its defaults, and the values of its pages on tuning, one changed at a time;
the one that is best on validation with the first seed is trained with all of them. Ours are runs of params.yaml. Both
stop by validation NDCG@10 and rank with their best epoch. Speed is users a second: users times epochs, through the time
of all epochs with their validation. In an epoch of SASRec both predict every interaction of every training sequence; in
one of BERT4Rec RecBole masks every beginning of a sequence anew, ours every window of one. What was trained stays in
.checkpoints/references, so that a run that was cut off goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl

from lamar import params
from lamar.baselines.popularity import Popularity
from lamar.console import progress, say, user_errors
from lamar.errors import LamarError
from lamar.evaluation.metrics import summarise
from lamar.evaluation.ranks import SCHEMA
from lamar.files import sha256_of, write_json, write_parquet, written_whole
from lamar.report.text import Table, markdown
from lamar.report.words import mean
from lamar.text.histories import histories
from lamar.training.examples import Sequences, Users, read_users

RUNS = {"SASRec": "sasrec-converged", "BERT4Rec": "bert4rec"}  # ours, of params.yaml
POPULARITY = "Popularity"
SHOWN = ("ndcg@10", "recall@10")
# RecBole's defaults, and the values of its pages on tuning these two models that change one of them.
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
    POPULARITY: {DEFAULT: {}},
}


@dataclass(frozen=True)
class Trained:
    """One seed. ranks: as contract 4 has them; seconds: of every epoch; validation: the best epoch's NDCG@10."""

    ranks: pl.DataFrame
    seconds: np.ndarray
    validation: float


Job = Callable[[Path, Callable[[str], None]], None]
"""Trains one seed: writes an .npz (user, item, greater, equal, candidates, seconds, validation), tells every epoch."""


def exported(work: Path, dataset: str) -> Path:
    """The folder of RecBole's atomic file. Its name is RecBole's dataset: `ml-100k` would be RecBole's own copy."""
    return work / f"lamar-{dataset}"


def export(folder: Path, interactions: pl.DataFrame) -> None:
    """Write RecBole's atomic file; its time is our position, so that equal times stay in our order."""
    columns = {"user": "user_id:token", "item": "item_id:token", "position": "timestamp:float"}
    folder.mkdir(parents=True, exist_ok=True)
    table = interactions.select(*columns).rename(columns)
    with written_whole(folder / f"{folder.name}.inter") as unfinished:
        table.write_csv(unfinished, separator="\t")


def recbole(python: str, folder: Path, model: str, settings: dict[str, Any]) -> Job:
    """A model of RecBole, trained by the Python of its environment."""
    script = Path(__file__).with_name("references_recbole.py").resolve()
    command = [python, str(script), str(folder.resolve()), model, json.dumps(settings)]

    def train(out: Path, tell: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory() as scratch, open(Path(scratch, "errors"), "w+") as errors:
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            arrays = Path(scratch, "ranks.npz")
            options = {"cwd": scratch, "env": environment, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            with subprocess.Popen([*command, str(arrays)], **options) as started:
                for line in started.stdout:
                    tell(line.strip())
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
            epochs.append(epoch)
            tell(f"epoch {epoch.epoch}, validation NDCG@10 {epoch.validation:.4f}")

        model = TRAINERS[run.model](run, sequences, seed, Watch(seen, lambda stage: None))
        ranks = ranks_table(model, sequences, run, seed).drop("seed")
        curve = {name: np.array([getattr(one, name) for one in epochs]) for name in ("seconds", "validation")}
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

    defaults: RecBole's defaults alone, without its tuned settings.
    """

    dataset: str
    python: str
    work: Path
    sequences: Sequences
    seeds: Sequence[int]
    epochs: int | None
    defaults: bool

    @property
    def _exported(self) -> Path:
        return exported(self.work, self.dataset)

    def theirs(self, model: str, setting: str, seed: int) -> Path:
        """RecBole's model under a setting with one seed."""
        settings = SETTINGS[model][setting] | ({"epochs": self.epochs} if self.epochs else {})
        job = recbole(self.python, self._exported, model, settings | {"seed": seed})
        return self._kept(f"recbole-{model}-{setting}", seed, settings, job)

    def own(self, model: str, seed: int) -> Path:
        """Our run for that model with one seed."""
        run = params.load().runs[RUNS[model]]
        run = run.model_copy(update={"epochs": min(run.epochs, self.epochs or run.epochs)})
        return self._kept(RUNS[model], seed, run.model_dump(mode="json"), ours(run, self.sequences, seed))

    def _kept(self, name: str, seed: int, settings: dict[str, Any], job: Job) -> Path:
        read_from = sha256_of(self._exported / f"{self._exported.name}.inter")
        digest = hashlib.sha256(json.dumps([settings, read_from], sort_keys=True).encode()).hexdigest()[:12]
        return kept(self.work / f"{name}-{digest}-{seed}.npz", job, f"{name} seed {seed}")

    def best_setting(self, model: str) -> str:
        """Of RecBole's settings, the one that is best on validation with the first seed."""
        first = self.seeds[0]
        tried = [DEFAULT] if self.defaults else SETTINGS[model]
        validation = {setting: read(self.theirs(model, setting, first), first).validation for setting in tried}
        return max(validation, key=lambda setting: validation[setting])

    def compare(self, model: str) -> dict[str, Any]:
        """Both sides of a model with all seeds; the ratio of the speeds, ours by theirs."""
        users = len(self.sequences.ids)
        best = self.best_setting(model)
        theirs = summary([read(self.theirs(model, best, seed), seed) for seed in self.seeds], users)
        own = summary([read(self.own(model, seed), seed) for seed in self.seeds], users)
        return {
            "RecBole": {"setting": best} | theirs,
            "LaMAR": {"setting": RUNS[model]} | own,
            "ratio": round(own["users_per_second"] / theirs["users_per_second"], 2),
        }


def read_prepared(dataset: str, work: Path) -> Sequences:
    """Users and items of the prepared tables, exported for RecBole on the way."""
    prepared = Path("data/prepared", dataset)
    interactions, split = (pl.read_parquet(prepared / f"{name}.parquet") for name in ("interactions", "split"))
    export(exported(work, dataset), interactions)
    write_parquet(work / "histories.parquet", histories(interactions, split))
    return Sequences(read_users(str(work / "histories.parquet")), pl.read_parquet(prepared / "items.parquet"))


@click.command()
@click.argument("dataset")
@click.option("--python", default=".references/bin/python", show_default=True, help="Of RecBole's environment.")
@click.option("--model", "models", multiple=True, type=click.Choice(list(RUNS)), help="Without it: all.")
@click.option("--defaults", is_flag=True, help="Try RecBole's defaults alone, not what it documents for tuning.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How many.")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="At most, of both sides; else RecBole's 300 and params.yaml's."
)
@user_errors
def main(dataset: str, python: str, models: Sequence[str], defaults: bool, seeds: int, epochs: int | None) -> None:
    """Write benchmarks/results/references-DATASET.json (with --epochs: references-DATASET-EPOCHS-epochs.json)."""
    if not Path(python).exists():
        raise LamarError(f"{python}: no such file; make RecBole's environment (docs/baselines.md) or name its --python")
    work = Path(".checkpoints/references", dataset)
    sequences = read_prepared(dataset, work)
    comparison = Comparison(dataset, str(Path(python).absolute()), work, sequences, range(seeds), epochs, defaults)
    check(comparison.theirs(POPULARITY, DEFAULT, 0), sequences.users, sequences.items.height)
    say(f"RecBole has our {len(sequences.ids):,} test users, targets, histories and popularity")
    found = {model: comparison.compare(model) for model in models or RUNS}
    out = Path("benchmarks/results", f"references-{dataset}{f'-{epochs}-epochs' if epochs else ''}.json")
    write_json(out, {"dataset": dataset, "users": len(sequences.ids), "machine": machine(), "models": found})
    click.echo(table(found), nl=False)


def machine() -> str:
    """What trains, and by how many threads."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


if __name__ == "__main__":
    main()
