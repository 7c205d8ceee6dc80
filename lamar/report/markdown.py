"""A dataset's results as a markdown table, for the README."""

from __future__ import annotations

from collections.abc import Sequence

from lamar.evaluation.metrics import METRICS
from lamar.report.results import Result


def table(results: Sequence[Result]) -> str:
    """One row a run: the six metrics, with ± the standard deviation over seeds where there are several."""
    head = ["run", "seeds", *(name.upper().replace("RECALL", "Recall") for name in METRICS)]
    rows = [[result.run, str(result.seeds), *(_cell(result, name) for name in METRICS)] for result in results]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(result: Result, name: str) -> str:
    spread = f" ± {result.metrics[f'{name}_std']:.4f}" if result.seeds > 1 else ""
    return f"{result.metrics[name]:.4f}{spread}"
