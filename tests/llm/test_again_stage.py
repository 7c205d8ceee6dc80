"""The stage `again` as a process, after `generate` and `signals`: what was rejected is asked for once more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
from llm_server import READ, WRITTEN, Server, completion, says
from stage_process import REPOSITORY, Place
from tiny_encoder import write_encoder

from lamar.llm import journal

GOOD = "A quiet drama about two brothers who meet again after the war and learn to forgive."


def run(here: Place, stage: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / f"stages/{stage}.py"), "ml-100k", "gpt-4o-mini"]
    done = subprocess.run(command, cwd=here.folder, env=here.environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def says_text(text: str):  # noqa: ANN201
    answer = completion("")
    answer["choices"][0]["message"]["content"] = text
    return says(answer)


def test_what_was_rejected_is_asked_for_once_more_within_the_budget(server: Server, tmp_path: Path) -> None:
    here = Place(tmp_path, server, items=3)
    write_encoder(tmp_path / "models/backbones/minilm", [GOOD, "Film"])
    server.script.extend([says_text(GOOD), says_text("As an AI I cannot tell how it feels."), says_text(GOOD)])
    assert run(here, "generate").returncode == 0
    assert run(here, "signals").returncode == 0
    first = journal.read(here.journal)

    spent = 3 * (READ * 0.15 + WRITTEN * 0.60) / 1e6  # at the prices of params.yaml
    here.change(budget_usd=spent + 1e-6)
    done = run(here, "again")
    assert done.returncode == 1
    assert "does not pay for one more question" in done.stderr
    assert server.requests == 3

    here.change(budget_usd=1)
    server.script.append(says_text(GOOD.replace("brothers", "sisters")))
    done = run(here, "again")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "1 asked again: 2 signals before, 3 now"
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
    assert run(here, "again").returncode == 0
    assert server.requests == 4


def test_without_judged_signals_there_is_nothing_to_ask_again(server: Server, tmp_path: Path) -> None:
    done = run(Place(tmp_path, server, items=3), "again")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "gpt-4o-mini.jsonl: no such file; run dvc repro generate" in done.stderr
    assert server.requests == 0
