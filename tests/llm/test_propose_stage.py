"""The stage `propose` as a script, asked of a server on loopback; its answers travel with the repository."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner
from llm_server import Server, completion
from stage_process import REPOSITORY, Place

from lamar.cli import main as lamar
from lamar.signals.generate import shipped_path
from lamar.signals.prompt import answers_of, proposal_path

IDEA = "Users choose by how a film feels. Recommended feature: Mood."
GOOD = [
    "A warm and funny evening at home with friends who have grown apart and meet again after years.",
    "Slow, sad and beautiful; two lovers lose each other in a cold city without ever saying why.",
    "Loud chases through crowded streets, told with a wink, for people who want to forget their day.",
    "A tense trial in a small town, where a quiet lawyer fights for truth against all his neighbours.",
]
PROPOSAL = proposal_path("ml-100k", "gpt-4o-mini")
Run = Callable[..., int]


async def thinks(request: web.Request, question: str) -> web.Response:
    """Proposes Mood, and writes another good signal about every film."""
    about_an_item = "of one item as input" in question
    answer = completion(question)
    answer["choices"][0]["message"]["content"] = GOOD[len(question) % 2 + 2 * (question[-9] in "02468")]
    if not about_an_item:
        answer["choices"][0]["message"]["content"] = IDEA
    return web.json_response(answer)


@pytest.fixture
def here(server: Server, tmp_path: Path) -> Place:
    """A folder whose catalogue of twelve films has no prompt."""
    place = Place(tmp_path, server, items=12)
    server.always = thinks
    change(place.folder, "datasets", "ml-100k", prompt="auto")
    PROPOSAL.unlink()
    return place


def change(folder: Path, *section: str, **changes: object) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    part = params
    for name in section:
        part = part[name]
    part |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def run(here: Place, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a stage in this process, on the named machine; its status."""
    monkeypatch.setenv("OPENAI_API_KEY", here.environment["OPENAI_API_KEY"])

    def in_this_process(stage: str, machine: str = "author") -> int:
        monkeypatch.setenv("LAMAR_JOURNAL", str(here.folder / machine))
        main = runpy.run_path(str(REPOSITORY / f"stages/{stage}.py"))["main"]
        with pytest.raises(SystemExit) as ended:
            main(["ml-100k", "gpt-4o-mini"])
        return ended.value.code or 0

    return in_this_process


def test_a_clone_proposes_and_generates_the_same_and_asks_nothing(server: Server, run: Run) -> None:
    assert run("propose") == run("generate") == 0
    proposed, asked = PROPOSAL.read_bytes(), server.requests
    done = CliRunner().invoke(lamar, ["share-answers", "ml-100k", "gpt-4o-mini"])
    assert done.exit_code == 0, done.output
    shipped = [json.loads(line)["key"] for line in shipped_path("ml-100k", "gpt-4o-mini").read_text().splitlines()]
    assert len(shipped) == asked
    assert answers_of(PROPOSAL) < set(shipped)
    PROPOSAL.unlink()
    assert run("propose", "clone") == run("generate", "clone") == 0
    assert PROPOSAL.read_bytes() == proposed
    assert server.requests == asked


def test_second_answers_are_shared_too(server: Server, run: Run) -> None:
    assert run("propose") == run("generate") == 0
    second = {"item_id": "0", "key": "second", "model": "m", "text": "t", "finish_reason": "stop"}
    path = Path("data/responses/ml-100k/gpt-4o-mini-again.jsonl")
    path.write_text(json.dumps(second | {"input_tokens": 1, "output_tokens": 1}) + "\n")
    assert CliRunner().invoke(lamar, ["share-answers", "ml-100k", "gpt-4o-mini"]).exit_code == 0
    assert '"key": "second"' in shipped_path("ml-100k", "gpt-4o-mini").read_text()


def test_an_edited_rule_or_a_new_item_changes_no_prompt_and_asks_nothing(
    server: Server, here: Place, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("propose") == run("generate") == 0
    proposed, asked = PROPOSAL.read_bytes(), server.requests
    change(here.folder, "signals", echo_words=2, language_confidence=1.0, copy_similarity=0.3)
    items = Path("data/prepared/ml-100k/items.parquet")
    more = pl.DataFrame({"item_id": ["0a"], "title": ["Film 99"], "genre": ["Drama"]})
    pl.concat([pl.read_parquet(items), more]).write_parquet(items)
    assert run("propose", "clone") == 0
    assert "data/proposals/ml-100k/gpt-4o-mini.json: stays as it is" in capsys.readouterr().err
    assert PROPOSAL.read_bytes() == proposed
    assert run("generate") == 0
    assert server.requests == asked + 1, "the new item's signal alone"


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        (("propose",), {"seed": 1}),
        (("propose",), {"examples": 1}),
        (("propose",), {"strategies": {"gpt-4o-mini": "prompt-variant"}}),
        (("datasets", "ml-100k"), {"about": "old films"}),
        (("generators", "gpt-4o-mini"), {"options": {"temperature": 1}}),
    ],
    ids=str,
)
def test_what_is_asked_by_another_or_otherwise_is_proposed_anew(
    here: Place, run: Run, section: tuple[str, ...], changes: dict[str, object]
) -> None:
    assert run("propose") == 0
    proposed = PROPOSAL.read_bytes()
    change(here.folder, *section, **changes)
    assert run("propose") == 0
    assert PROPOSAL.read_bytes() != proposed


def test_what_people_correct_stays(server: Server, run: Run) -> None:
    assert run("propose") == 0
    corrected = PROPOSAL.read_text().replace("one short sentence", "one sentence in plain words")
    assert corrected != PROPOSAL.read_text()
    PROPOSAL.write_text(corrected)
    asked = server.requests
    assert run("propose") == 0
    assert PROPOSAL.read_text() == corrected
    assert server.requests == asked


def test_a_broken_proposal_is_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("propose") == 0
    PROPOSAL.write_text("<<<<<<< HEAD\n")
    assert run("propose") == 1
    assert capsys.readouterr().err.endswith(f"error: {PROPOSAL}:1: not valid JSON (Expecting value)\n")
