"""`lamar judge`: the sheet is put to a server, within a budget, and nothing is asked twice."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from llm_server import READ, WRITTEN, Server, completion, says
from stage_process import Place

from lamar.cli import main
from lamar.llm import journal

SHEET = Path("data/ratings/ml-100k/qwen-coder/judge-gpt-4o-mini.csv")


@pytest.fixture
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path, server, items=4)
    for name in ("OPENAI_API_KEY", "LAMAR_JOURNAL"):
        monkeypatch.setenv(name, place.environment[name])
    signals = {
        "item_id": ["0", "1", "2", "3"],
        "signal": ["Dark", "Warm", "Slow", "Loud"],
        "kept": [True] * 3 + [False],
    }
    (tmp_path / "data/signals/ml-100k").mkdir(parents=True)
    pl.DataFrame(signals).write_parquet(tmp_path / "data/signals/ml-100k/qwen-coder.parquet")
    return place


def judge() -> Result:
    return CliRunner().invoke(main, ["judge", "ml-100k", "qwen-coder", "--judge", "gpt-4o-mini"])


def rates(text: str):  # noqa: ANN201
    answer = completion("")
    answer["choices"][0]["message"]["content"] = text
    return says(answer)


def test_the_sheet_is_judged_once_within_the_budget(
    server: Server, here: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    server.always = rates('{"relevancy": 1, "usefulness": 0.5}')
    here.change(budget_usd=1e-9)
    assert judge().exit_code == 1
    assert server.requests == 0
    assert not SHEET.exists()

    here.change(budget_usd=1)
    server.script.clear()
    assert judge().exit_code == 0
    assert server.requests == 3
    table = pl.read_csv(SHEET)
    assert table.select("judge", "relevancy", "usefulness").unique().rows() == [("served", 1, 0.5)]
    assert all("Rate the signal" in body["messages"][0]["content"] for body in server.bodies)
    assert judge().exit_code == 0
    assert server.requests == 3
    assert len(journal.read(here.journal)) == 3


def test_what_the_judge_was_paid_for_signals_counts(server: Server, here: Place) -> None:
    from lamar.cli import _questions

    asked, _ = _questions("ml-100k", "gpt-4o-mini")
    with journal.opened(here.journal) as book:
        book.append(journal.Answer(each.key, "m", "text", "stop", READ, WRITTEN, 0.1) for each in asked)
    paid = len(asked) * (READ * 0.15 + WRITTEN * 0.60) / 1e6  # at the prices of params.yaml
    here.change(budget_usd=paid + 1e-6)
    done = judge()
    assert done.exit_code == 1
    assert server.requests == 0


def test_an_unreadable_judge_is_one_line(server: Server, here: Place, capfd: pytest.CaptureFixture[str]) -> None:
    server.always = rates("I cannot.")
    assert judge().exit_code == 1
    assert not SHEET.parent.exists()
