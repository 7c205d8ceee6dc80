"""A table as text: for a README (Markdown) and for a paper (LaTeX)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells are plain text; `text_columns` at the left are words, the others numbers."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    text_columns: int = 1


def some(caption: str, head: Sequence[str], rows: list[list[str]], text_columns: int = 1) -> list[Table]:
    """One table, or none without rows."""
    return [Table(caption, list(head), rows, text_columns)] if rows else []


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
        "×": r"$\times$",
        "−": "$-$",
        "–": "--",
        "…": r"\ldots{}",
        "’": "'",
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
