"""The stage `again`, after `generate` and `signals`: what was rejected is asked for once more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from llm_server import READ, WRITTEN, Server, completion, says
from stage_process import Place, Run
from tiny_encoder import write_encoder

from lamar.llm import journal

GOOD = "A quiet drama about two brothers who meet again after the war and learn to forgive."


@pytest.fixture
def here(server: Server, tmp_path: Path) -> Place:
    return Place(tmp_path, server, items=3)


def says_text(text: str):  # noqa: ANN201
    answer = completion("")
    answer["choices"][0]["message"]["content"] = text
    return says(answer)


def test_what_was_rejected_is_asked_for_once_more_within_the_budget(
    server: Server, here: Place, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_encoder(tmp_path / "models/backbones/minilm", [GOOD, "Film"])
    server.script.extend([says_text(GOOD), says_text("As an AI I cannot tell how it feels."), says_text(GOOD)])
    assert run("generate") == 0
    assert run("signals") == 0
    first = journal.read(here.journal)

    spent = 3 * (READ * 0.15 + WRITTEN * 0.60) / 1e6  # at the prices of params.yaml
    here.change(budget_usd=spent + 1e-6)
    assert run("again") == 1
    assert "does not pay for one more question" in capsys.readouterr().err
    assert server.requests == 3

    here.change(budget_usd=1)
    server.script.append(says_text(GOOD.replace("brothers", "sisters")))
    assert run("again") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "1 asked again: 2 signals before, 3 now"
    assert server.requests == 4
    assert "The reason: refusal." in server.bodies[-1]["messages"][-1]["content"]
    assert first.items() < journal.read(here.journal).items()
    signals = pl.read_parquet(tmp_path / "data/signals/ml-100k/gpt-4o-mini-again.parquet")
    assert sorted(signals["signal"]) == sorted([GOOD, GOOD, GOOD.replace("brothers", "sisters")])
    before = pl.read_parquet(tmp_path / "data/signals/ml-100k/gpt-4o-mini.parquet")
    assert before["kept"].sum() == 2
    metrics = tmp_path / "metrics/ml-100k/gpt-4o-mini-again"
    assert json.loads((metrics / "quality.json").read_text())["kept"] == 3
    assert json.loads((metrics / "usage.json").read_text())["requests"] == 1
    assert run("again") == 0
    assert server.requests == 4


def test_second_answers_that_are_not_here_are_not_paid_for_again(
    server: Server, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a clone that has pulled the first answers, but not the second ones."""
    write_encoder(tmp_path / "models/backbones/minilm", [GOOD, "Film"])
    server.script.extend([says_text(GOOD), says_text("As an AI I cannot tell how it feels."), says_text(GOOD)])
    server.script.append(says_text(GOOD.replace("brothers", "sisters")))
    assert [run(stage) for stage in ("generate", "signals", "again")] == [0, 0, 0]
    second = Path("data/responses/ml-100k/gpt-4o-mini-again.jsonl")
    written = second.read_bytes()
    out = {"path": str(second), "hash": "md5", "md5": hashlib.md5(written).hexdigest()}
    lock = {"schema": "2.0", "stages": {"again@ml-100k-gpt-4o-mini": {"outs": [out]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))

    second.unlink()
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / "clone"))
    assert run("again") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {second}: its answers are paid for (dvc.lock), but not here; bring them with: dvc ")
    assert "dvc pull again@ml-100k-gpt-4o-mini" in said
    assert server.requests == 4

    second.write_bytes(written)
    assert run("again") == 0
    assert (server.requests, second.read_bytes()) == (4, written)


def test_without_judged_signals_there_is_nothing_to_ask_again(
    server: Server, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("again") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "gpt-4o-mini.jsonl: no such file; run dvc repro generate" in said
    assert server.requests == 0
