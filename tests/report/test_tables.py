"""Tables as text; those of the README and of docs/ are those of the committed metrics."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from test_report import NOTHING, RESULTS, page_of, result, root, significance  # noqa: F401 (root is a fixture)

from lamar import params
from lamar.cli import main, table
from lamar.report.chapter import Chapter, chapters
from lamar.report.comparison import differences
from lamar.report.evidence import Evidence, letters, marks
from lamar.report.ranker_tables import falling_table
from lamar.report.results import Result
from lamar.report.tables import (
    LABELS,
    TABLES,
    buckets_table,
    changes_table,
    groups_table,
    main_table,
    runs_table,
    significance_table,
)
from lamar.report.text import FORMATS, Table, latex, markdown

PAGES = "".join(page.read_text() for page in [Path("README.md"), *Path("docs").glob("*.md")])
SHOWN = [part.split(" -->", 1)[0] for part in PAGES.split("<!-- table:")[1:]]


def ends(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def pair(run: str, against: str, significant: bool = True, relative: dict | None = None) -> dict:
    metric = {
        "difference": ends(0.01, 0.005, 0.02),
        "relative": relative or ends(0.1, 0.05, 0.2),
        "relative_users": ends(0.1, 0.06, 0.19),
        "p": 0.001,
        "p_holm": 0.006,
        "significant": significant,
    }
    metrics = {"ndcg@10": metric, "recall@10": metric | {"significant": False}, "mrr": metric | {"relative": None}}
    return {"run": run, "against": against, "seeds": [3, 3], "chance": "users x seeds", **metrics}


FOUND = Evidence(
    {
        "users": 100,
        "resamples": 1000,
        "level": 0.95,
        "repeats": {},
        "runs": {"recformer-lamar": {"ndcg@10": ends(0.0505, 0.04, 0.06)}},
        "pairs": [
            pair("recformer-lamar", "recformer-original", significant=False),
            pair("recformer-lamar", "recformer-placebo"),
        ],
    },
    pl.DataFrame(
        {
            "by": ["popularity"] * 2,
            "bucket": ["> 20"] * 2,
            "users": [1234] * 2,
            "run": ["recformer-lamar"] * 2,
            "against": ["", "recformer-original"],
            "metric": ["ndcg@10"] * 2,
            "value": [0.05, 0.01],
            "low": [0.04, -0.01],
            "high": [0.06, 0.03],
        }
    ),
    None,
    None,
)


def chapter(results: list[Result], evidence: Evidence) -> Chapter:
    made = differences(results, {})
    return Chapter("tiny", results, {}, made, [], [], [], {}, [], evidence, None, [], [])


@pytest.mark.parametrize("dataset", SHOWN)
def test_pages_show_the_committed_metrics(dataset: str) -> None:
    (shown,) = chapters(Path(), params.load(), [dataset])
    made = "".join(map(markdown, runs_table(shown)))
    assert f"<!-- table:{dataset} -->\n{made}<!-- /table -->" in PAGES


def test_the_page_of_rankers_shows_the_committed_metrics() -> None:
    (shown,) = chapters(Path(), params.load(), ["scientific"])
    made = "".join(map(markdown, falling_table(shown)))
    assert f"<!-- rankers:scientific -->\n{made}<!-- /rankers -->" in PAGES


def test_the_main_table_has_models_as_columns_and_what_signals_improve() -> None:
    (table,) = main_table(chapter(RESULTS, FOUND))
    assert table.head == ["metric", "popularity", "recformer-original", "recformer-lamar"]
    assert [row[0] for row in table.rows] == [*LABELS.values(), "Seeds"]
    ndcg, recall, *_, auc, seeds = table.rows
    # As `significance` found it.
    assert ndcg[1:] == ["0.0200", "0.0500 ± 0.0010", "0.0505 ± 0.0020 (+10.0%, +5.0% to +20.0%)"]
    assert recall[3] == "0.5000 ± 0.0000 (+10.0%, +5.0% to +20.0%)"
    assert seeds[1:] == ["1", "3", "3"]
    assert table.caption.endswith("the same model without signals, * where significant, with 95% intervals.")
    assert auc[3] == "0.5000 ± 0.0000 (+0.0%)"  # not tested: the ratio of the means


def test_a_significant_improvement_has_an_asterisk() -> None:
    found = replace(FOUND, significance=FOUND.significance | {"pairs": [pair("recformer-lamar", "recformer-original")]})
    ndcg, recall, *_ = main_table(chapter(RESULTS, found))[0].rows
    assert ndcg[3] == "0.0505 ± 0.0020 (+10.0%*, +5.0% to +20.0%)"
    assert recall[3] == "0.5000 ± 0.0000 (+10.0%, +5.0% to +20.0%)"


def test_the_table_of_runs_marks_significant_differences_by_letters() -> None:
    assert letters(FOUND) == {"recformer-original": "a", "recformer-placebo": "b"}
    assert marks(RESULTS[2], "ndcg@10", FOUND) == "b"
    assert marks(RESULTS[2], "auc", FOUND) == ""
    rows = {row[0]: row for row in runs_table(chapter(RESULTS, FOUND))[0].rows}
    assert rows["recformer-lamar"][1:4] == ["3", "0.0505 ± 0.0020 (b)", "0.5000 ± 0.0000"]
    assert "recformer-placebo (b)" in rows
    assert "popularity" in rows


def test_without_evidence_there_are_no_letters() -> None:
    alone = chapter([result("sasrec", 0.1, seeds=1)], NOTHING)
    assert runs_table(alone)[0].rows == [["sasrec", "1", "0.1000", *["0.5000"] * 5]]
    (table,) = main_table(alone)
    assert [row[1] for row in table.rows] == ["0.1000", *["0.5000"] * 5, "1"]
    assert table.caption == "Models on tiny; in brackets: against the same model without signals."
    assert significance_table(chapter(RESULTS, NOTHING)) == []
    assert buckets_table(chapter(RESULTS, NOTHING)) == groups_table(chapter(RESULTS, NOTHING)) == []


def test_the_significance_table() -> None:
    first, _, mrr, *_ = significance_table(chapter(RESULTS, FOUND))[0].rows
    assert first[:4] == ["recformer-lamar against recformer-original", "NDCG@10", "+10.0%", "+5.0% to +20.0%"]
    assert first[4:] == ["+6.0% to +19.0%", "0.0010", "0.0060", "no", "3"]
    assert mrr[2:5] == ["–", "–", "–"]


def test_groups_have_the_runs_own_values_and_the_differences() -> None:
    (own,) = buckets_table(chapter(RESULTS, FOUND))[0].rows
    assert own == ["popularity", "> 20", "recformer-lamar", "1,234", "0.0500", "0.0400 to 0.0600"]
    (row,) = groups_table(chapter(RESULTS, FOUND))[0].rows
    expected = ["popularity", "> 20", "recformer-lamar against recformer-original", "1,234", "+0.0100"]
    assert row == [*expected, "−0.0100 to +0.0300"]


def test_changes_are_of_all_six_metrics() -> None:
    first, second = changes_table(chapter(RESULTS, NOTHING))[0].rows
    assert first == ["recformer-lamar against recformer-original", "+1.0%", *["+0.0%"] * 5]
    assert second[:2] == ["recformer-lamar against recformer-placebo", "+25.0%"]


def test_every_table_of_the_page_can_be_printed(root) -> None:  # noqa: F811
    """But for intervals, which the page has inside its table of runs."""
    found = significance()
    found["runs"]["recformer-lamar"] |= dict.fromkeys(("recall@10", "mrr"), found["runs"]["recformer-lamar"]["ndcg@10"])
    (root / "metrics/tiny/significance.json").write_text(json.dumps(found))
    (root / "metrics/tiny/buckets.csv").write_text(
        "by,bucket,users,run,against,metric,value,low,high\n"
        'popularity,> 20,1234,recformer-lamar,"",ndcg@10,0.05,0.04,0.06\n'
        "popularity,> 20,1234,recformer-lamar,recformer-placebo,ndcg@10,0.01,-0.01,0.03\n"
    )
    chosen = params.load()
    (tiny,) = chapters(root, chosen)
    captions = {made.caption[:-1] for tables in TABLES.values() for made in tables(tiny)}
    labels = set(re.findall(r'aria-label="([^"]+)">\n<table', page_of(root, chosen)))
    assert len(labels) > 8
    assert labels <= captions
    assert captions - labels == {"Results on tiny with their intervals"}
    for made in (made for tables in TABLES.values() for made in tables(tiny)):
        assert {len(row) for row in made.rows} == {len(made.head)}


HOSTILE = Table("A & B", ["x_1", "y"], [["50% {of} #1 \\ ~ ^ $|", "−1 ± 2"]])


def test_latex_is_escaped() -> None:
    text = latex(HOSTILE)
    assert r"\caption{A \& B}" in text
    assert r"x\_1 & y \\" in text
    assert r"50\% \{of\} \#1 \textbackslash{} \textasciitilde{} \textasciicircum{} \$| & $-$1 $\pm$ 2 \\" in text
    assert r"\begin{tabular}{lr}" in text


def test_a_latex_row_is_no_argument_of_what_stands_before_it() -> None:
    lines = latex(Table("", ["[head]", "b"], [["[2em]", "1"], ["*", "[2]"], ["plain", "*"]])).splitlines()
    expected = [r"{}[head] & b \\", r"\midrule", r"{}[2em] & 1 \\", r"{}* & [2] \\", r"plain & * \\"]
    assert [line for line in lines if line.endswith(r"\\") or line == r"\midrule"] == expected


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path) -> None:
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + latex(HOSTILE) + r"\end{document}"
    (tmp_path / "t.tex").write_text(document)
    done = subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_markdown_cells_do_not_break_the_table() -> None:
    assert markdown(Table("", ["a"], [["x|y"]])) == "| a |\n| --- |\n| x\\|y |\n"


def test_several_tables_have_their_captions_as_markdown_and_one_has_none() -> None:
    first, second = (Table(f"Of {name}.", ["a"], [["x"]]) for name in ("one", "two"))
    assert FORMATS["markdown"]([first]) == markdown(first)
    assert FORMATS["markdown"]([first, second]) == f"Of one.\n\n{markdown(first)}\nOf two.\n\n{markdown(second)}"


def test_the_command_says_of_which_dataset_and_generator_a_table_is() -> None:
    done = CliRunner().invoke(main, ["table", "quality"])
    assert done.exit_code == 0
    assert "Quality of qwen-coder on ml-100k.\n\n| statistic |" in done.output
    assert "\n\nQuality of qwen-coder-prompt-variant on scientific.\n\n| statistic |" in done.output


def test_the_command_knows_every_table_and_format() -> None:
    name, form = table.params[0], next(option for option in table.params if option.name == "form")
    assert list(name.type.choices) == list(TABLES)
    assert list(form.type.choices) == list(FORMATS)


def test_the_command_prints_a_dataset() -> None:
    done = CliRunner().invoke(main, ["table", "main", "--dataset", "ml-100k", "--format", "latex"])
    assert done.exit_code == 0
    assert r"\caption{Models on ml-100k; in brackets: against the same model without signals" in done.output
    assert r"metric & popularity & sasrec & " in done.output
    assert r"($-$9.8\%, $-$31.4\% to +18.5\%)" in done.output  # NDCG@10
    assert r"(+1.6\%)" in done.output  # NDCG@50, which is not tested
    assert r"Seeds & 1 & 1 & 3 & " in done.output


def test_a_table_or_dataset_that_is_not_here_is_one_line() -> None:
    done = CliRunner().invoke(main, ["table", "main", "--dataset", "ml-99k"])
    assert done.exit_code == 1
    assert CliRunner().invoke(main, ["table", "rankers", "--dataset", "ml-100k"]).exit_code == 1
