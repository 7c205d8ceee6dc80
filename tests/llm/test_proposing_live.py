"""The stage `propose` asked of a server on loopback: live, within the budget, and saying what it took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from llm_server import READ, WRITTEN, Server
from stage_process import Place, Run, thinks

PROPOSAL = Path("data/proposals/ml-100k/gpt-4o-mini.json")
USAGE = Path("metrics/ml-100k/gpt-4o-mini/usage.json")
EACH = (READ * 0.15 + WRITTEN * 0.60) / 1e6  # USD of an answer at the prices of params.yaml


@pytest.fixture
def here(server: Server, tmp_path: Path) -> Place:
    """A catalogue of twelve films that has no prompt."""
    place = Place(tmp_path, server, items=12)
    server.always = thinks
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["datasets"]["ml-100k"]["prompt"] = "auto"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return place


def test_a_proposal_is_asked_for_live_though_the_signals_come_in_a_batch(
    server: Server, here: Place, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    here.change(mode="batch")
    assert run("propose") == 0
    assert server.calls.total() == 0
    asked = server.requests
    took = f"proposed in {asked} answers, {asked * (READ + WRITTEN):,} tokens, ${asked * EACH:.4f}"
    assert took in capsys.readouterr().err
    assert json.loads(PROPOSAL.read_text())["signal"] == "Mood"
    assert run("generate") == 0
    assert server.calls["create"] == 1


def test_all_rounds_of_a_proposal_are_within_one_budget(
    server: Server, here: Place, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("propose") == 0
    asked = server.requests
    answers = here.journal.read_text().splitlines()
    here.journal.write_text("\n".join(answers[:-1]) + "\n")  # the last one is to be asked for
    PROPOSAL.unlink()
    capsys.readouterr()
    here.change(budget_usd=(asked - 1) * EACH + 1e-7)
    assert run("propose") == 1
    assert "does not pay for one more question" in capsys.readouterr().err
    assert server.requests == asked


def test_what_a_proposal_took_counts_with_the_signals(
    server: Server, here: Place, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("propose") == 0
    proposed = [json.loads(line)["key"] for line in here.journal.read_text().splitlines()]
    PROPOSAL.write_text(json.dumps(json.loads(PROPOSAL.read_text()) | {"answers": proposed}))
    here.change(budget_usd=len(proposed) * EACH)
    assert run("generate") == 1
    assert "does not pay for one more question" in capsys.readouterr().err
    assert server.requests == len(proposed)
    here.change(budget_usd=1)
    assert run("generate") == 0
    assert server.requests == len(proposed) + 12
    usage = json.loads(USAGE.read_text())
    assert usage["requests"] == server.requests
    assert usage["cost_usd"] == pytest.approx(server.requests * EACH, abs=1e-6)


def test_nothing_is_told_of_a_pinned_prompt(server: Server, tmp_path: Path, run: Run, capsys) -> None:
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["datasets"]["ml-100k"]["prompt"] = "movielens"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    before = PROPOSAL.read_bytes()
    assert run("propose") == 0
    assert capsys.readouterr().err == "ml-100k: gpt-4o-mini is asked for Mood and Themes (pinned)\n"
    assert PROPOSAL.read_bytes() == before
    assert run("generate") == 0
    assert json.loads(USAGE.read_text())["requests"] == server.requests == 12
