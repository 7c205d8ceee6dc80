from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "mlflow", "polars", "sklearn", "sentence_transformers"}
COMMANDS = ("verify-journal", "share-answers", "estimate", "judge", "times", "recommend", "publish")
SEEN = """
import sys
try:
    from lamar.cli import main
    main(sys.argv[1:])
finally:
    print("\\n".join(sorted(sys.modules)), file=sys.stderr)
"""


def lamar(*arguments: str, folder: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [Path(sys.executable).with_name("lamar"), *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([name, "--help"] for name in COMMANDS),
    ],
)
def test_help_is_light(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SEEN, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage:")
    assert not HEAVY & set(done.stderr.split())


def test_help_names_every_command() -> None:
    done = lamar("--help")
    assert done.returncode == 0
    assert set(COMMANDS) <= set(done.stdout.split())
    assert "..." not in done.stdout.split("Commands:")[1], "what a command does is cut off"


@pytest.mark.parametrize("command", ["verify-journal", "share-answers"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ml-100", "qwen-coder"], "no dataset named 'ml-100'; known: arts, games, "),
        (["ml-100k", "qwen"], "no generator named 'qwen'; known: "),
    ],
)
def test_an_unknown_name_is_one_line(command: str, arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = lamar(command, *arguments, LAMAR_JOURNAL=str(tmp_path / "journal"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: params.yaml: {complaint}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_outside_of_a_repository(tmp_path: Path) -> None:
    done = lamar("verify-journal", "ml-100k", "qwen-coder", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: params.yaml: no such file; run from the root of the repository\n"


def test_a_dataset_that_is_not_prepared(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    done = lamar("share-answers", "ml-100k", "qwen-coder", folder=tmp_path, LAMAR_JOURNAL=str(tmp_path / "journal"))
    assert done.returncode == 1
    remedy = "put ml-100k into matrix.datasets, then dvc repro prepare"
    assert done.stderr == f"error: data/prepared/ml-100k/items.parquet: no such file; {remedy}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the committed parameters and two films prepared."""
    import polars as pl

    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    items = pl.DataFrame({"item_id": ["1", "2"], "title": ["Contact", "Fargo"], "genre": ["Drama", "Crime"]})
    (tmp_path / "data/prepared/ml-100k").mkdir(parents=True)
    items.write_parquet(tmp_path / "data/prepared/ml-100k/items.parquet")
    return tmp_path


def estimate(folder: Path, generator: str) -> subprocess.CompletedProcess[str]:
    """What asking about the two films takes, on a machine that has asked nothing and has no model."""
    empty = {name: str(folder / name) for name in ("LAMAR_JOURNAL", "LAMAR_CACHE")}
    return lamar("estimate", "--dataset", "ml-100k", "--generator", generator, folder=folder, **empty)


def test_an_estimate_needs_neither_key_nor_budget(shop: Path) -> None:
    done = estimate(shop, "gpt-4o-mini")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ml-100k by gpt-4o-mini: 2 questions, 2 still to ask"
    assert lines[1].startswith("input tokens   ")
    counted = r"\(an approximation: 4 characters a token, of Chinese or Japanese one\)"
    approximate, most = re.fullmatch(rf"input tokens   (\d+) {counted}, ([\d,]+) at most", lines[1]).groups()
    assert int(approximate) < int(most.replace(",", ""))
    assert lines[2] == "output tokens  128 at most (max_tokens: 64)"
    usd = r"\$0\.0\d+ at most, \$0\.0\d+ if every answer is as long as it may be"
    assert re.fullmatch(rf"cost           {usd}", lines[3])
    assert re.fullmatch(rf"in a batch     {usd}", lines[4])
    assert lines[5] == "prices of 2026-04-01; budget_usd: not set"
    assert not (shop / "LAMAR_JOURNAL").exists()


@pytest.mark.parametrize("strategy", ["auto-cot", "prompt-variant"])
def test_an_estimate_before_a_signal_is_proposed(shop: Path, strategy: str) -> None:
    import yaml

    chosen = yaml.safe_load((shop / "params.yaml").read_text())
    chosen["datasets"]["ml-100k"]["prompt"] = "auto"
    chosen["propose"]["strategies"] = {"gpt-4o-mini": strategy}
    (shop / "params.yaml").write_text(yaml.safe_dump(chosen))
    done = estimate(shop, "gpt-4o-mini")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    questions = {"auto-cot": 2 * (6 - 1) + 2 + 2, "prompt-variant": 2 + 2}[strategy]  # one task is about films, too
    at_most = (
        rf"a proposal     {questions} questions, [\d,]+ input and {questions * 200:,} output tokens, \$0\.\d+ at most"
    )
    assert re.fullmatch(at_most, lines[0])
    assert lines[1] == "then, if it has a name of 3 words and examples of 20:"
    assert lines[2] == "ml-100k by gpt-4o-mini: 2 questions, 2 still to ask"
    assert lines[5].startswith("cost           $0.0")
    assert not (shop / "LAMAR_JOURNAL").exists()


def test_a_local_model_costs_nothing(shop: Path) -> None:
    assert estimate(shop, "qwen-coder").stdout.endswith("cost           none: the model is local\n")


def test_answers_of_an_api_cannot_be_verified(shop: Path) -> None:
    done = lamar("verify-journal", "ml-100k", "gpt-4o-mini", folder=shop, LAMAR_JOURNAL=str(shop / "journal"))
    assert done.returncode == 1
    assert done.stderr == (
        "error: gpt-4o-mini: only answers of local models can be verified, since only their weights stay the same\n"
    )


def test_no_questions_is_a_usage_error() -> None:
    done = lamar("verify-journal", "ml-100k", "qwen-coder", "--questions", "0")
    assert done.returncode == 2
    assert "0 is not in the range x>=1" in done.stderr
