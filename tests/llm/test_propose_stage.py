"""The stage `propose` as a script, asked of a server on loopback; its answers travel with the repository."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner
from llm_server import Server, completion
from stage_process import REPOSITORY, Place

from lamar.cli import main as lamar
from lamar.signals.generate import shipped_path
from lamar.signals.proposal import answers_of, proposal_path

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
