"""Numbers as the report writes them, and what second answers cost."""

import json
from pathlib import Path

import pytest

from lamar.files import write_json
from lamar.report.costs import own_usage, signal_usage
from lamar.report.words import duration, percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "–"), (0.1, "0 s"), (47.4, "47 s"), (170.9, "2.8 min"), (5999, "100 min"), (8640, "2.4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_have_a_sign() -> None:
    assert [percent(0.0312), percent(-0.1)] == ["+3.1%", "−10.0%"]


def test_second_answers_took_the_first_ones_as_well(tmp_path: Path) -> None:
    for name, requests in {"llm": 100, "llm-again": 7, "other": 1000}.items():
        folder = tmp_path / "metrics/tiny" / name
        folder.mkdir(parents=True)
        usage = {"requests": requests, "input_tokens": 2, "output_tokens": 1, "cost_usd": 0.5, "retries": 3}
        (folder / "usage.json").write_text(json.dumps(usage))
    spent = {"requests": 107, "input_tokens": 4, "output_tokens": 2, "cost_usd": 1.0}
    assert signal_usage(tmp_path, "tiny", ["llm-again"]) == spent
    assert signal_usage(tmp_path, "tiny", ["llm", "llm-again"]) == spent
    assert signal_usage(tmp_path, "tiny", []) == {}
    assert signal_usage(tmp_path, "tiny", ["llm", "uncounted"]) == {}


def test_what_a_run_asked_itself_is_its_cost(tmp_path: Path) -> None:
    for stage, tokens in (("taxonomy", 5), ("taxrec", 7)):
        usage = {"requests": 1, "input_tokens": tokens, "output_tokens": 2, "cost_usd": 0.5}
        write_json(tmp_path / "metrics/tiny/taxrec-original" / f"{stage}.json", {"usage": usage})
    assert [usage["input_tokens"] for usage in own_usage(tmp_path, "tiny", "taxrec-original")] == [5, 7]
    assert own_usage(tmp_path, "tiny", "sasrec") == []
