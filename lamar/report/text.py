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


def captioned(tables: Sequence[Table]) -> str:
    """As Markdown: one table alone, or each of several below its caption."""
    if len(tables) == 1:
        return markdown(tables[0])
    return "\n".join(f"{table.caption}\n\n{markdown(table)}" for table in tables)


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
    head, *rows = map(_latex_row, [table.head, *table.rows])
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


def _latex_row(cells: list[str]) -> str:
    row = " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"
    # After the rule or the \\ of the line before, [ and * would be read as its argument.
    return "{}" + row if row.lstrip().startswith(("[", "*")) else row


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": captioned,
    "latex": lambda tables: "\n".join(map(latex, tables)),
}
