"""Tables as text; those of the README and of docs/ are those of the committed metrics."""

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from test_report import RESULTS, result

from lamar import params
from lamar.cli import main, table
from lamar.report.evidence import Evidence, letters, marks, read_evidence
from lamar.report.results import load_results
from lamar.report.tables import FORMATS, TABLES, Table, buckets_table, latex, main_table, markdown, significance_table

PAGES = "".join(page.read_text() for page in [Path("README.md"), *Path("docs").glob("*.md")])
SHOWN = [part.split(" -->", 1)[0] for part in PAGES.split("<!-- table:")[1:]]
NOTHING = Evidence(None, None, None)


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
)


@pytest.mark.parametrize("dataset", SHOWN)
def test_pages_show_the_committed_metrics(dataset: str) -> None:
    results = load_results(Path("metrics"), list(params.load().runs))[dataset]
    made = markdown(main_table(dataset, results, read_evidence(Path(), dataset)))
    assert f"<!-- table:{dataset} -->\n{made}<!-- /table -->" in PAGES


def test_the_main_table_marks_significant_differences_by_letters() -> None:
    assert letters(FOUND) == {"recformer-original": "a", "recformer-placebo": "b"}
    assert marks(RESULTS[2], "ndcg@10", FOUND) == "b"
    assert marks(RESULTS[2], "auc", FOUND) == ""
    rows = {row[0]: row for row in main_table("tiny", RESULTS, FOUND).rows}
    assert rows["recformer-lamar"][1:4] == ["3", "0.0505 ± 0.0020 (b)", "0.5000 ± 0.0000"]
    assert "recformer-placebo (b)" in rows
    assert "popularity" in rows


def test_without_evidence_there_are_no_letters() -> None:
    rows = main_table("tiny", [result("sasrec", 0.1, seeds=1)], NOTHING).rows
    assert rows == [["sasrec", "1", "0.1000", *["0.5000"] * 5]]
    assert significance_table("tiny", RESULTS, NOTHING).rows == []
    assert buckets_table("tiny", RESULTS, NOTHING).rows == []


def test_the_significance_table() -> None:
    first, _, mrr, *_ = significance_table("tiny", RESULTS, FOUND).rows
    assert first[:5] == ["recformer-lamar", "recformer-original", "NDCG@10", "+10.0%", "+5.0% to +20.0%"]
    assert first[5:] == ["users x seeds", "0.0010", "0.0060", "no"]
    assert mrr[3:5] == ["–", "–"]


def test_the_buckets_table_has_the_runs_own_values() -> None:
    (row,) = buckets_table("tiny", RESULTS, FOUND).rows
    assert row == ["popularity", "> 20", "1,234", "recformer-lamar", "0.0500", "0.0400 to 0.0600"]


HOSTILE = Table("A & B", ["x_1", "y"], [["50% {of} #1 \\ ~ ^ $|", "−1 ± 2"]])


def test_latex_is_escaped() -> None:
    text = latex(HOSTILE)
    assert r"\caption{A \& B}" in text
    assert r"x\_1 & y \\" in text
    assert r"50\% \{of\} \#1 \textbackslash{} \textasciitilde{} \textasciicircum{} \$| & $-$1 $\pm$ 2 \\" in text
    assert r"\begin{tabular}{lr}" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path) -> None:
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + latex(HOSTILE) + r"\end{document}"
    (tmp_path / "t.tex").write_text(document)
    done = subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_markdown_cells_do_not_break_the_table() -> None:
    assert markdown(Table("", ["a"], [["x|y"]])) == "| a |\n| --- |\n| x\\|y |\n"


def test_the_command_knows_every_table_and_format() -> None:
    name, form = table.params[0], next(option for option in table.params if option.name == "form")
    assert list(name.type.choices) == list(TABLES)
    assert list(form.type.choices) == list(FORMATS)


def test_the_command_prints_a_dataset() -> None:
    done = CliRunner().invoke(main, ["table", "main", "--dataset", "ml-100k", "--format", "latex"])
    assert done.exit_code == 0
    assert r"\caption{Results on ml-100k.}" in done.output
    assert "recformer-lamar" in done.output
