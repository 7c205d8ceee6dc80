"""The whole pipeline with DVC, on a tiny catalogue in a copy of the repository: no network, no key, no GPU.

The films and what the LLM wrote about them are real; who watched what is made up, and the backbone is random.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from dvc.utils.serialize import modify_yaml

from lamar.evaluation.metrics import METRICS
from lamar.files import sha256_of
from lamar.llm import journal
from lamar.params import Params, load
from lamar.signals.generate import questions
from lamar.signals.prompt import load_prompt

REPOSITORY = Path(__file__).parents[2]
ANSWERS = REPOSITORY / "data/journals/ml-100k/qwen-coder.jsonl"
RUNS = ["sasrec", "recformer-lamar", "recformer-placebo"]
MADE = [f"data/{name}" for name in ("raw", "prepared", "proposals", "responses", "signals", "sequences")]
MADE += [f"data/{name}" for name in ("embeddings", "encoded")]
MADE += [f"models/{name}" for name in ("backbones", "pretrained/games", "tiny")]
MADE += ["ranks", "metrics", "report", "dvc.lock", ".dvc/cache"]
FILMS = """
Contact (1997)|Drama, Sci-Fi
Fargo (1996)|Crime, Drama, Thriller
Liar Liar (1997)|Comedy
English Patient, The (1996)|Drama, Romance, War
Scream (1996)|Horror, Thriller
Toy Story (1995)|Animation, Children's, Comedy
Air Force One (1997)|Action, Thriller
Raiders of the Lost Ark (1981)|Action, Adventure
Godfather, The (1972)|Action, Crime, Drama
Pulp Fiction (1994)|Crime, Drama
Twelve Monkeys (1995)|Drama, Sci-Fi
Jerry Maguire (1996)|Drama, Romance
Rock, The (1996)|Action, Adventure, Thriller
Titanic (1997)|Action, Drama, Romance
Back to the Future (1985)|Comedy, Sci-Fi
Mission: Impossible (1996)|Action, Adventure, Mystery
Fugitive, The (1993)|Action, Thriller
Indiana Jones and the Last Crusade (1989)|Action, Adventure
Forrest Gump (1994)|Comedy, Romance, War
Monty Python and the Holy Grail (1974)|Comedy
Full Monty, The (1997)|Comedy
Terminator, The (1984)|Action, Sci-Fi, Thriller
Dead Man Walking (1995)|Drama
Schindler's List (1993)|Drama, War
Leaving Las Vegas (1995)|Drama, Romance
Braveheart (1995)|Action, Drama, War
Conspiracy Theory (1997)|Action, Mystery, Romance, Thriller
Twister (1996)|Action, Adventure, Thriller
Alien (1979)|Action, Horror, Sci-Fi, Thriller
Groundhog Day (1993)|Comedy, Romance
"""
CATALOGUE = [(str(number), *line.split("|")) for number, line in enumerate(FILMS.strip().splitlines())]
TINY = {
    "reader": "table",
    "attributes": ["title", "genre"],
    "prompt": "movielens",
    "ties": "file",
    "sample_users": 1.0,
    "items": "data/own/films.csv",
    "interactions": "data/own/views.csv",
    "columns": {"item": "film", "user": "viewer", "timestamp": "day"},
}
SMALL = {
    "sasrec": {"hidden": 8, "heads": 1, "layers": 1, "epochs": 2, "batch": 16, "learning_rate": 0.01},
    "recformer": {
        "backbone": "tiny",
        "layers": 1,
        "frozen_layers": 0,
        "places_per_user": 0,
        "epochs": 1,
        "second_epochs": 1,
        "max_items": 5,
    },
    "pretrain-small": {
        "backbone": "tiny",
        "layers": 1,
        "frozen_layers": 0,
        "masked_weight": 0.1,
        "max_items": 5,
        "epochs": 2,
        "batch": 16,
    },
}


@dataclass(frozen=True)
class Copy:
    """A copy of the repository, and the environment its commands run in."""

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, status: int | None = 0) -> str:
        """Run a command at the root; its output, standard error included. `status` None: any but 0."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        expected = done.returncode > 0 if status is None else done.returncode == status
        assert expected, f"status {done.returncode}\n{done.stdout}"
        return done.stdout

    def read(self, path: str) -> Any:
        return json.loads((self.root / path).read_text())

    def metrics(self) -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in sorted((self.root / "metrics").rglob("*")) if file.is_file()}


def tiny_backbone(folder: Path) -> str:
    """A random BERT of one layer with a tokenizer of the films' words; the sha256 of its weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    words = {word.strip("(),") for line in FILMS.split("\n") for word in line.replace("|", " ").split()}
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # all that a BERT tokenizer would add
    vocabulary = {word: number for number, word in enumerate([*marks, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return sha256_of(folder / "model.safetensors")


def write_catalogue(folder: Path) -> None:
    """The films, and 40 viewers who mostly stay with one genre."""
    chance = random.Random(0)
    views = []
    for viewer in range(40):
        genre = chance.choice(["Action", "Comedy", "Drama"])
        liked = [film for film, _, genres in CATALOGUE if genre in genres]
        seen = chance.sample(liked, 5) + chance.sample([film for film, _, _ in CATALOGUE], 3)
        views += [(f"v{viewer}", film, day) for day, film in enumerate(dict.fromkeys(seen))]
    tables = {"films.csv": [("film", "title", "genre"), *CATALOGUE], "views.csv": [("viewer", "film", "day"), *views]}
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def copy_sources(root: Path) -> None:
    """What git knows or would take up, but for results, tests and documents."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        sources = (
            "lamar/",
            "stages/",
            "models/",
            *(f"data/{part}/" for part in ("own", "prepared", "ratings", "signals")),
        )
        wanted = name.startswith((".dvc", ".gitignore", "dvc.yaml", "params.yaml", *sources))
        if wanted and (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)


def edit_params(root: Path, weights: str) -> None:
    """The tiny catalogue and backbone, and small models; anchors and merges stay what they are."""
    with modify_yaml(str(root / "params.yaml")) as params:
        params["matrix"] |= {"datasets": ["tiny"], "generators": ["qwen-coder"], "runs": RUNS}
        params["matrix"] |= {"backbones": ["tiny"], "similarity": ["tiny"], "pretrained": ["games"], "taxrec": []}
        params["buckets"] |= {"similarity": "tiny", "min_users": 5}
        params["datasets"]["tiny"] = TINY
        files = ["config.json", "model.safetensors", "tokenizer.json"]
        params["backbones"]["tiny"] = {"sources": [{"mirror": "backbone", "files": files}], "sha256": weights}
        for preset, changes in SMALL.items():
            params["presets"][preset].update(changes)
        params["runs"]["sasrec"]["seeds"] = [0, 1]
        params["pretrained"]["games"]["sources"] = {"tiny": ["title", "genre"]}
        for run in ("recformer-lamar", "recformer-placebo"):  # with one start, or they would be no pair
            params["runs"][run]["backbone"] = "games"
        params["signals"]["encoder"] = params["encode"]["encoder"] = "tiny"


def environment(folder: Path) -> dict[str, str]:
    """Everything that commands write outside the copy goes to `folder`; nothing of the user's settings counts."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LAMAR_", "DVC_", "MLFLOW_"))}
    return own | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "copy"),  # before the repository that is installed
        "HOME": str(folder / "home"),
        "LAMAR_JOURNAL": str(folder / "journal"),
        "LAMAR_MIRROR": str(folder / "mirror"),
        "LAMAR_CACHE": str(folder / "cache"),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",  # the models are too small for more
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
    }


def assert_answered(chosen: Params) -> None:
    """All films are answered in the journal that comes with the repository, so that no LLM is asked."""
    writer = chosen.generators["qwen-coder"]
    items = pl.DataFrame(CATALOGUE, schema=["item_id", "title", "genre"], orient="row")
    known = journal.read(ANSWERS)
    asked = questions(items, TINY["attributes"], load_prompt(TINY["prompt"]), writer)
    assert {question.key for question in asked} <= known.keys(), "choose films that the committed answers are about"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The copy, committed to git before and after one `dvc repro`."""
    folder = tmp_path_factory.mktemp("pipeline")
    made = Copy(folder / "copy", environment(folder))
    for name in ("home", "journal"):
        (folder / name).mkdir()
    copy_sources(made.root)
    write_catalogue(made.root / "data/own")
    edit_params(made.root, tiny_backbone(folder / "mirror/backbone"))
    chosen = load(made.root / "params.yaml")
    assert_answered(chosen)
    shutil.copy(ANSWERS, folder / "journal" / f"{chosen.generators['qwen-coder'].model}.jsonl")
    made.run("git", "init", "-q")
    for key, value in {"user.name": "Test", "user.email": "test@example.org", "commit.gpgsign": "false"}.items():
        made.run("git", "config", key, value)
    commit(made)
    made.run("dvc", "repro")
    commit(made)
    return made


def commit(made: Copy) -> None:
    made.run("git", "add", "-A")
    made.run("git", "commit", "-q", "-m", "results")


@pytest.fixture
def scratch(copy: Copy) -> Iterator[Copy]:
    """The copy, for a test that changes it: afterwards it is as committed."""
    yield copy
    copy.run("git", "reset", "-q", "--hard")
    copy.run("dvc", "checkout", "-f", "--allow-missing")


def test_all_stages_ran(copy):
    listed = copy.run("dvc", "stage", "list", "--name-only").split()
    assert set(yaml.safe_load((copy.root / "dvc.lock").read_text())["stages"]) == set(listed)
    scripts = {path.stem for path in (REPOSITORY / "stages").glob("*.py")}
    absent = {"again", "taxonomy", "taxrec", "transfer"}  # empty lists in the matrix
    absent |= {"evaluate_ranker", "pools", "rank", "retrieve", "tune"}
    assert {name.split("@")[0] for name in listed} == scripts - absent


def test_a_run_starts_from_what_was_pretrained(copy):
    weights = copy.root / "models/pretrained/games/model.safetensors"
    assert weights.stat().st_size > 0
    upstream = copy.run("dvc", "dag", "--md", "train@tiny-recformer-placebo")
    assert "pretrain@games" in upstream


def test_metrics_of_every_run(copy):
    for run in RUNS:
        metrics = copy.read(f"metrics/tiny/full/{run}.json")
        assert list(metrics) == [*METRICS, *(f"{name}_std" for name in METRICS)]
        assert all(0 <= value <= 1 for value in metrics.values())
    assert copy.read("metrics/tiny/full/sasrec.signature.json")["seeds"] == [0, 1]
    assert copy.read("metrics/tiny/statistics.json")["users"] == 40
    assert copy.read("metrics/tiny/statistics.json")["items"] == len(CATALOGUE)


def test_signals_reach_the_models_that_are_to_read_them(copy):
    quality = copy.read("metrics/tiny/qwen-coder/quality.json")
    assert quality["items"] == len(CATALOGUE)
    assert quality["kept"] >= 20
    items = {run: pl.read_parquet(copy.root / f"data/sequences/tiny/{run}/items.parquet") for run in RUNS}
    assert items["sasrec"].columns == ["item", "title", "genre"]
    lamar, placebo = (items[run]["Mood and Themes"].to_list() for run in ("recformer-lamar", "recformer-placebo"))
    assert sorted(lamar) == sorted(placebo)
    assert sum(lamar_text == other for lamar_text, other in zip(lamar, placebo, strict=True) if lamar_text) == 0


def test_dvc_shows_metrics_plots_and_the_graph(copy):
    shown = json.loads(copy.run("dvc", "metrics", "show", "--json"))[""]["data"]
    written = {f"metrics/tiny/full/{run}.json": copy.read(f"metrics/tiny/full/{run}.json") for run in RUNS}
    assert {path: shown[path]["data"] for path in written} == written
    assert "metrics/tiny/full/sasrec.json" in copy.run("dvc", "metrics", "show", "--md")
    said = copy.run("dvc", "plots", "show", "--out", "plots").splitlines()  # also that scientific's are not here
    page = next(line.removeprefix("file://") for line in said if line.startswith("file://"))
    shown = Path(page).read_text()
    assert "What the signals change in NDCG@10" in shown
    assert "NDCG@10 of every run" in shown
    assert all(f"metrics/tiny/{name}.csv" in shown for name in ("curves/sasrec", "buckets", "qwen-coder/similarity"))
    shutil.rmtree(copy.root / "plots")
    assert "train@tiny-recformer-lamar" in copy.run("dvc", "dag")


def test_the_evidence_is_there(copy):
    (pair,) = copy.read("metrics/tiny/significance.json")["pairs"]
    assert (pair["run"], pair["against"], pair["chance"]) == ("recformer-lamar", "recformer-placebo", "users")
    own = copy.read("metrics/tiny/significance.json")["runs"]["sasrec"]["ndcg@10"]["value"]
    assert own == pytest.approx(copy.read("metrics/tiny/full/sasrec.json")["ndcg@10"], abs=2e-6)
    groups = pl.read_csv(copy.root / "metrics/tiny/buckets.csv")["by"].unique().sort().to_list()
    assert groups == ["genre", "history", "novelty qwen-coder", "popularity"]
    assert copy.read("metrics/tiny/qwen-coder/diversity.json")["vocabulary"] > 50
    assert copy.read("metrics/tiny/qwen-coder/ratings.json") == {"items": 15, "raters": 0, "judges": []}


def test_the_report_shows_every_run(copy):
    assert set(copy.read("report/summary.json")["tiny"]["runs"]) == set(RUNS)
    page = (copy.root / "report/index.html").read_text()
    assert all(title in page for title in ("tiny", "recformer", "Mood and Themes"))


def test_a_clone_makes_the_report_from_what_is_committed(copy, tmp_path):
    """And the page that is published names the commits."""
    clone = Copy(tmp_path / "clone", copy.environment | {"PYTHONPATH": str(tmp_path / "clone")})
    subprocess.run(["git", "clone", "-q", str(copy.root), str(clone.root)], check=True)
    clone.run("dvc", "repro", "-s", "report")
    assert set(clone.read("report/summary.json")["tiny"]["runs"]) == set(RUNS)
    page = (clone.root / "report/index.html").read_text()
    assert "not in this checkout" in page
    assert "committed in" not in page
    clone.run("python", "stages/report.py", "--page", "docs/report.html")
    published = (clone.root / "docs/report.html").read_text()
    assert f"committed in {clone.run('git', 'log', '-1', '--format=%h', 'metrics').strip()}" in published


def test_mlflow_knows_every_seed(copy):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{copy.root}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'lamar'")
    found = client.search_runs([experiment.experiment_id])
    names = {run.info.run_name: run for run in found}
    assert names.keys() >= {f"tiny {run} seed 0" for run in RUNS} | {"tiny sasrec seed 1"}
    assert all(run.info.status == "FINISHED" for run in found)
    kept = names["tiny sasrec seed 1"].data
    assert kept.params["hidden"] == "8"
    assert {"loss", "validation_ndcg_at_10", "auc"} <= kept.metrics.keys()
    assert len(kept.tags["git_revision"]) == 40


def test_a_second_repro_does_nothing(copy):
    before = copy.metrics()
    started = time.perf_counter()
    said = copy.run("dvc", "repro")
    assert time.perf_counter() - started < 20
    assert "Running stage" not in said
    assert said.strip().endswith("Data and pipelines are up to date.")
    assert copy.run("dvc", "status").strip() == "Data and pipelines are up to date."
    assert copy.run("git", "status", "--porcelain") == ""
    assert copy.metrics() == before


def test_an_experiment_is_compared_with_what_is_committed(scratch):
    assert scratch.run("dvc", "metrics", "diff").strip() == ""
    said = scratch.run("dvc", "exp", "run", "-S", "runs.sasrec.hidden=4", "evaluate@tiny-sasrec")
    assert said.count("Running stage") == 2  # train and evaluate; nothing is fetched, asked or prepared again
    assert scratch.read("metrics/tiny/full/sasrec.signature.json")["settings"]["hidden"] == 4
    changes = json.loads(scratch.run("dvc", "metrics", "diff", "--json"))
    assert list(changes) == ["metrics/tiny/full/sasrec.json"]
    change = changes["metrics/tiny/full/sasrec.json"]["ndcg@10"]
    assert change["new"] == scratch.read("metrics/tiny/full/sasrec.json")["ndcg@10"] != change["old"]


def complaint(made: Copy, about: str) -> str:
    """The one line of a failing `dvc repro` that names `about`."""
    said = made.run("dvc", "repro", status=None)
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if about in line]
    return line


def test_an_unknown_dataset_is_named(scratch):
    with modify_yaml(str(scratch.root / "params.yaml")) as params:
        params["matrix"]["datasets"] = ["tinny"]
    assert "Parameters 'datasets.tinny' are missing from 'params.yaml'" in complaint(scratch, "tinny")


def test_an_unknown_key_is_named_and_nothing_is_lost(scratch):
    before = scratch.metrics()
    with modify_yaml(str(scratch.root / "params.yaml")) as params:
        params["prepare"]["seeed"] = 1
    expected = "error: params.yaml: prepare.seeed: unknown key; remove it or correct its spelling"
    assert complaint(scratch, "seeed") == expected
    with modify_yaml(str(scratch.root / "params.yaml")) as params:
        del params["prepare"]["seeed"]
    scratch.run("dvc", "repro")
    assert scratch.metrics() == before


def test_from_scratch_and_without_tracking_the_metrics_are_the_same_bytes(scratch):
    before = scratch.metrics()
    for name in MADE:
        path = scratch.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with modify_yaml(str(scratch.root / "params.yaml")) as params:
        params["tracking"]["enabled"] = False
    said = scratch.run("dvc", "repro")
    assert "tracking is off: tracking.enabled is false in params.yaml" in said
    assert len(before) > 2 * len(RUNS)
    assert scratch.metrics() == before
