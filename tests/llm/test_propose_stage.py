"""The stage `propose` as a script, asked of a server on loopback; its answers travel with the repository."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from llm_server import Server
from stage_process import Place, Run, thinks

from lamar.cli import main as lamar
from lamar.signals.generate import shipped_path
from lamar.signals.prompt import answers_of, proposal_path

PROPOSAL = proposal_path("ml-100k", "gpt-4o-mini")


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


def test_a_clone_proposes_and_generates_the_same_and_asks_nothing(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("propose") == run("generate") == 0
    proposed, asked = PROPOSAL.read_bytes(), server.requests
    done = CliRunner().invoke(lamar, ["share-answers", "ml-100k", "gpt-4o-mini"])
    assert done.exit_code == 0, done.output
    shipped = [json.loads(line)["key"] for line in shipped_path("ml-100k", "gpt-4o-mini").read_text().splitlines()]
    assert len(shipped) == asked
    assert answers_of(PROPOSAL) < set(shipped)
    PROPOSAL.unlink()
    monkeypatch.setenv("LAMAR_JOURNAL", "clone")
    assert run("propose") == run("generate") == 0
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
    server: Server, here: Place, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("propose") == run("generate") == 0
    proposed, asked = PROPOSAL.read_bytes(), server.requests
    change(here.folder, "signals", echo_words=2, language_confidence=1.0, copy_similarity=0.3)
    items = Path("data/prepared/ml-100k/items.parquet")
    more = pl.DataFrame({"item_id": ["0a"], "title": ["Film 99"], "genre": ["Drama"]})
    pl.concat([pl.read_parquet(items), more]).write_parquet(items)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("LAMAR_JOURNAL", "clone")
        assert run("propose") == 0
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
