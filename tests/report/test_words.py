"""Numbers as the report writes them, and what second answers cost."""

import json
from pathlib import Path

from lamar.files import write_json
from lamar.report.costs import own_usage, signal_usage
from lamar.report.words import mean, minutes, percent, signed


def test_minutes_sort_as_numbers() -> None:
    assert [minutes(seconds) for seconds in (0, 47.4, 86400)] == ["0.0", "0.8", "1,440.0"]


def test_shares_have_a_sign() -> None:
    assert [percent(0.0312), percent(-0.1)] == ["+3.1%", "−10.0%"]
    assert percent(None) == "–"
    assert [signed(0.00211), signed(-0.00004)] == ["+0.0021", "−0.0000"]


def test_a_mean_has_its_deviation_where_there_are_seeds() -> None:
    metrics = {"mrr": 0.06111, "mrr_std": 0.002}
    assert [mean(metrics, "mrr", seeds) for seeds in (1, 3)] == ["0.0611", "0.0611 ± 0.0020"]


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
