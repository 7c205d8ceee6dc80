"""Which results are columns of the main table, in which order, and what stands beside them."""

import json
import re
from pathlib import Path

import pytest
from test_report import NOTHING, RESULTS, page_of, result, root, significance  # noqa: F401 (root is a fixture)
from test_tables import FOUND, chapter

from lamar import params
from lamar.report.evidence import Evidence
from lamar.report.layout import Improvement, columns, families

OTHER = {"settings": {"layers": 3}}


def shown(results: list, evidence: Evidence = NOTHING) -> list[tuple[str, str | None]]:
    """Every column's run, and the run it is compared with."""
    found = columns(chapter(results, evidence))
    return [(column.result.run, column.base and column.base.run) for column in found]


def test_controls_are_no_columns_and_signals_stand_behind_their_base() -> None:
    controls = [
        result(f"recformer-{name}", 0.03, control=name, features=name)
        for name in ("random-words", "description", "signal-only")
    ]
    assert shown([*controls, RESULTS[2], RESULTS[3], RESULTS[1], RESULTS[0]]) == [
        ("recformer-original", None),
        ("recformer-lamar", "recformer-original"),
        ("popularity", None),
    ]


def test_every_kind_of_signals_has_a_column() -> None:
    two = result("recformer-two-signals", 0.06, signals={"writer": "abc", "other": "def"})
    first, *rest = shown([*RESULTS[1:3], two])
    assert first == ("recformer-original", None)
    assert rest == [("recformer-lamar", "recformer-original"), ("recformer-two-signals", "recformer-original")]


def test_settings_of_a_model_stand_side_by_side() -> None:
    deeper = [result(f"recformer-{features}", 0.04, **OTHER) for features in ("original", "lamar")]
    renamed = [type(one)(f"{one.run}-deeper", one.metrics, one.signature) for one in deeper]
    found = families(chapter([*RESULTS[1:3], RESULTS[0], *renamed], NOTHING))
    assert [[column.result.run for column in family] for family in found] == [
        ["recformer-original", "recformer-lamar"],
        ["recformer-original-deeper", "recformer-lamar-deeper"],
        ["popularity"],
    ]


def test_signals_without_a_base_stand_alone() -> None:
    assert shown([RESULTS[0], RESULTS[2]]) == [("popularity", None), ("recformer-lamar", None)]


def test_a_repeated_run_is_no_column_of_its_own() -> None:
    again = result("recformer-original-longer", 0.05, model="recformer", features="original", signals={}, **OTHER)
    evidence = Evidence(significance() | {"repeats": {"recformer-original-longer": "recformer-original"}}, *[None] * 3)
    assert again.run not in dict(shown([*RESULTS, again], evidence))
    assert again.run in dict(shown([*RESULTS, again]))


def test_improvements_are_those_that_were_tested() -> None:
    *_, lamar = columns(chapter(RESULTS, FOUND))
    assert lamar.improvements["ndcg@10"] == Improvement(0.1, (0.05, 0.2), significant=False)
    assert lamar.improvements["mrr"] == Improvement(0.0)  # the pair's has no ratio
    assert lamar.improvements["auc"] == Improvement(0.0)


def test_without_a_test_improvements_have_no_interval() -> None:
    *_, lamar = columns(chapter(RESULTS, NOTHING))
    assert lamar.improvements["ndcg@10"].value == pytest.approx(0.01)
    assert lamar.improvements["ndcg@10"].ends is None


def test_a_base_of_zero_has_no_ratio() -> None:
    *_, lamar = columns(chapter([result("recformer-original", 0.0), RESULTS[2]], NOTHING))
    assert lamar.improvements["ndcg@10"] == Improvement(None)


def main_table_of(page: str) -> str:
    """The main table of a page, as words."""
    (table,) = re.findall(r'<table class="models">.*?</table>', page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", table).replace("&nbsp;", " ").split())


def test_the_page_has_the_papers_layout(root: Path) -> None:  # noqa: F811
    found = significance()
    for metric in ("ndcg@10", "recall@10"):
        found["pairs"][0][metric] = found["pairs"][1][metric]  # significant against original, too
    (root / "metrics/tiny/significance.json").write_text(json.dumps(found))
    text = main_table_of(page_of(root, params.load()))
    assert text.startswith("Metric popularity recformer original lamar NDCG@10")
    assert "NDCG@10 0.0200 0.0500 ± 0.0010 0.0505 ± 0.0020 +10.0%* +5.0% to +20.0% Recall@10" in text
    assert "NDCG@50 0.5000 0.5000 ± 0.0000 0.5000 ± 0.0000 +0.0% Recall@50" in text
    assert text.endswith("Seeds 1 3 3")


def test_columns_of_one_model_are_told_apart_by_their_runs(root: Path) -> None:  # noqa: F811
    full = root / "metrics/tiny/full"
    for features in ("original", "lamar"):
        longer = result(f"recformer-{features}", 0.05, **OTHER)
        (full / f"{longer.run}-longer.json").write_text(json.dumps(longer.metrics))
        (full / f"{longer.run}-longer.signature.json").write_text(json.dumps(longer.signature))
    text = main_table_of(page_of(root, params.load()))
    expected = "original recformer-original lamar recformer-lamar original recformer-original-longer lamar"
    assert f"Metric popularity recformer recformer {expected} recformer-lamar-longer NDCG@10" in text


def test_without_signals_the_head_has_one_row(root: Path) -> None:  # noqa: F811
    for path in (root / "metrics/tiny/full").glob("recformer-*"):
        path.unlink()
    page = page_of(root, params.load())
    assert "rowspan" not in page
    assert main_table_of(page).startswith("Metric popularity NDCG@10 0.0200 Recall@10")
