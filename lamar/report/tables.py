"""The report's tables as text: for the README (Markdown) and for a paper (LaTeX)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lamar.analysis.buckets import SCHEMA
from lamar.analysis.runs import COMPARED
from lamar.evaluation.metrics import METRICS
from lamar.report.evidence import Evidence, letters, marks
from lamar.report.results import Result
from lamar.report.words import percent

LABELS = {name: name.upper().replace("RECALL", "Recall") for name in METRICS}


@dataclass(frozen=True)
class Table:
    """Cells are plain text; `text_columns` at the left are words, the others numbers."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    text_columns: int = 1


def main_table(dataset: str, results: Sequence[Result], evidence: Evidence) -> Table:
    """One row a run: the six metrics, ± the standard deviation over seeds where there are several.

    A letter in brackets behind a run names it; behind a number it names the runs that differ significantly.
    """
    known = letters(evidence)
    marked = any(pair[metric]["significant"] for pair in evidence.pairs for metric in COMPARED)

    def cell(result: Result, metric: str) -> str:
        found = marks(result, metric, evidence)
        return mean(result, metric) + (f" ({found})" if found else "")

    def name(result: Result) -> str:
        return f"{result.run} ({known[result.run]})" if marked and result.run in known else result.run

    rows = [[name(result), str(result.seeds), *(cell(result, metric) for metric in METRICS)] for result in results]
    return Table(f"Results on {dataset}.", ["run", "seeds", *LABELS.values()], rows)


def mean(result: Result, metric: str) -> str:
    """0.0611 ± 0.0020, or the mean alone when there is one seed."""
    spread = f" ± {result.metrics[f'{metric}_std']:.4f}" if result.seeds > 1 else ""
    return f"{result.metrics[metric]:.4f}{spread}"


def significance_table(dataset: str, results: Sequence[Result], evidence: Evidence) -> Table:
    """One row for each pair and metric: relative improvement, interval, p-value, Holm's, verdict."""
    rows = [
        [
            pair["run"],
            pair["against"],
            LABELS[metric],
            *relative(pair[metric]),
            pair["chance"],
            *_p_values(pair[metric]),
        ]
        for pair in evidence.pairs
        for metric in COMPARED
    ]
    head = ["run", "against", "metric", "improvement", "95% interval", "chance of", "p", "p (Holm)", "significant"]
    return Table(f"Significance on {dataset}.", head, rows, text_columns=3)


def relative(found: dict[str, Any]) -> list[str]:
    """Relative improvement and its interval, in percent; dashes where the base is zero."""
    ends = found["relative"]
    if ends is None:
        return ["–", "–"]
    return [percent(ends["value"]), f"{percent(ends['low'])} to {percent(ends['high'])}"]


def _who(pair: dict[str, Any]) -> list[str]:
    return [pair["run"], pair["against"]]


def _p_values(found: dict[str, Any]) -> list[str]:
    return [f"{found['p']:.4f}", f"{found['p_holm']:.4f}", "yes" if found["significant"] else "no"]


def buckets_table(dataset: str, results: Sequence[Result], evidence: Evidence) -> Table:
    """NDCG@10 of every run on every group of users, with its interval."""
    table = pl.DataFrame(schema=SCHEMA) if evidence.buckets is None else evidence.buckets
    cells = [
        [row["by"], row["bucket"], f"{row['users']:,}", row["run"], f"{row['value']:.4f}", _ends(row)]
        for row in table.filter(metric="ndcg@10", against="").iter_rows(named=True)
    ]
    head = ["by", "group", "users", "run", "NDCG@10", "95% interval"]
    return Table(f"NDCG@10 by group of users on {dataset}.", head, cells, text_columns=2)


def _ends(row: dict[str, Any]) -> str:
    return f"{row['low']:.4f} to {row['high']:.4f}"


# What `lamar table` can print.
TABLES: dict[str, Callable[[str, Sequence[Result], Evidence], Table]] = {
    "main": main_table,
    "significance": significance_table,
    "buckets": buckets_table,
}


def markdown(table: Table) -> str:
    """A pipe table; numbers to the right."""
    rules = ["---"] * table.text_columns + ["--:"] * (len(table.head) - table.text_columns)
    lines = [table.head, rules, *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "−": "$-$",
        "–": "--",
        ">": "$>$",
        "<": "$<$",
    }
)


def latex(table: Table) -> str:
    r"""A `table` of booktabs (`\usepackage{booktabs}`), every cell escaped."""
    columns = "l" * table.text_columns + "r" * (len(table.head) - table.text_columns)
    head, *rows = (" & ".join(cell.translate(LATEX) for cell in line) + r" \\" for line in [table.head, *table.rows])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{table.caption.translate(LATEX)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex}
