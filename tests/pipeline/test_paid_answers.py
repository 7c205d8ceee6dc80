"""The stage `generate` where another machine has paid: its answers are read, or it stops before paying again."""

import hashlib
import json
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result
from llm_server import Server

from lamar.signals.prompt import load_prompt
from lamar.signals.proposal import Proposal, write_proposal

REPOSITORY = Path(__file__).parents[2]
WRITER = "gpt-4o-mini"
STAGE = f"generate@ml-100k-{WRITER}"
RESPONSES = Path(f"data/responses/ml-100k/{WRITER}.jsonl")
FILMS = ["Contact (1997)", "Fargo (1996)", "Scream (1996)"]


@pytest.fixture
def server():
    with Server() as made:
        yield made


def write_items(titles: list[str]) -> None:
    ids = [str(number) for number in range(len(titles))]
    items = pl.DataFrame({"item_id": ids, "title": titles, "genre": ["Drama"] * len(titles)})
    path = Path("data/prepared/ml-100k/items.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    items.write_parquet(path)


def record_in_lock() -> None:
    """What DVC writes when the stage has run."""
    out = {"path": str(RESPONSES), "hash": "md5", "md5": hashlib.md5(RESPONSES.read_bytes()).hexdigest()}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {STAGE: {"outs": [out]}}}))


@pytest.fixture
def generate(tmp_path, monkeypatch, server):
    """Runs the stage in a repository that may pay, by the journal of the named machine."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "stages"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    chosen = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    chosen["generators"][WRITER] |= {"base_url": server.url, "budget_usd": 5}
    Path("params.yaml").write_text(yaml.safe_dump(chosen))
    write_items(FILMS)
    pinned = Proposal("pinned", "", load_prompt("movielens"), ())
    write_proposal(Path(f"data/proposals/ml-100k/{WRITER}.json"), pinned)

    def run(machine: str) -> Result:
        from generate import main

        monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / machine))
        return CliRunner().invoke(main, ["ml-100k", WRITER])

    yield run
    sys.modules.pop("generate", None)


@pytest.fixture
def paid(generate, server) -> bytes:
    """What the author's machine wrote and DVC recorded."""
    done = generate("author")
    assert done.exit_code == 0, done.output
    assert server.requests == len(FILMS)
    record_in_lock()
    return RESPONSES.read_bytes()


def test_pulled_answers_are_not_asked_for(generate, paid, server):
    usage = Path(f"metrics/ml-100k/{WRITER}/usage.json").read_bytes()
    assert generate("clone").exit_code == 0
    assert RESPONSES.read_bytes() == paid
    assert Path(f"metrics/ml-100k/{WRITER}/usage.json").read_bytes() == usage
    assert server.requests == len(FILMS)


def test_an_item_more_is_one_question_more(generate, paid, server):
    write_items([*FILMS, "Local Hero (1983)"])
    done = generate("clone")
    assert done.exit_code == 0, done.output
    assert server.requests == len(FILMS) + 1
    assert RESPONSES.read_bytes().startswith(paid)


@pytest.mark.parametrize("lost", [True, False])
def test_answers_that_are_not_here_are_not_paid_for_again(generate, paid, server, lost):
    if lost:
        RESPONSES.unlink()
    else:  # an older version, of fewer items
        RESPONSES.write_bytes(b"".join(paid.splitlines(keepends=True)[:1]))
    done = generate("clone")
    assert done.exit_code == 1
    assert f"error: {RESPONSES}: its answers are paid for (dvc.lock), but not here" in done.stderr
    assert f"dvc pull {STAGE}" in done.stderr
    assert server.requests == len(FILMS)


def test_the_machine_that_paid_has_them_in_its_journal(generate, paid, server):
    RESPONSES.unlink()
    assert generate("author").exit_code == 0
    assert RESPONSES.read_bytes() == paid
    assert server.requests == len(FILMS)


def test_whoever_wants_to_pay_again_can(generate, paid, server):
    RESPONSES.unlink()
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {}}))
    assert generate("clone").exit_code == 0
    assert server.requests == 2 * len(FILMS)


def test_a_server_of_one_s_own_is_asked_again(generate, paid, server):
    chosen = yaml.safe_load(Path("params.yaml").read_text())
    chosen["generators"][WRITER]["price"] |= {"input": 0, "output": 0}
    Path("params.yaml").write_text(yaml.safe_dump(chosen))
    RESPONSES.unlink()
    assert generate("clone").exit_code == 0
    assert server.requests == 2 * len(FILMS)


def test_a_torn_file_of_answers_is_named(generate, paid):
    RESPONSES.write_bytes(paid[:50] + b"\n" + paid)
    done = generate("clone")
    assert done.exit_code == 1
    assert f"error: {RESPONSES}:1: not an answer; bring it back with: dvc checkout" in done.stderr


def test_who_paid_counts_it_on_the_budget(generate, paid, server):
    chosen = yaml.safe_load(Path("params.yaml").read_text())
    one = json.loads(paid.splitlines()[0])
    price = chosen["generators"][WRITER]["price"]
    each = (one["input_tokens"] * price["input"] + one["output_tokens"] * price["output"]) / 1e6
    chosen["generators"][WRITER]["budget_usd"] = len(FILMS) * each  # less than a question may cost
    Path("params.yaml").write_text(yaml.safe_dump(chosen))
    write_items([*FILMS, "Local Hero (1983)"])
    for machine, spent in (("author", len(FILMS) * each), ("clone", 0)):
        done = generate(machine)
        assert done.exit_code == 1
        assert f"does not pay for one more question (${spent:.4f} are spent on this dataset)" in done.stderr
