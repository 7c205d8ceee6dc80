"""The report: one page that needs nothing but itself, and the same numbers as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamar.evaluation.metrics import METRICS
from lamar.params import Params
from lamar.report.catalogue import SignalSet, read_signal_sets, read_statistics
from lamar.report.charts import Bars, Panel, bars, curves
from lamar.report.comparison import Difference, best, differences
from lamar.report.results import Result, load_results

LABELS = {
    "ndcg@10": "NDCG@10",
    "recall@10": "Recall@10",
    "ndcg@50": "NDCG@50",
    "recall@50": "Recall@50",
    "mrr": "MRR",
    "auc": "AUC",
}


@dataclass(frozen=True)
class Chapter:
    """Everything the page says about one dataset."""

    name: str
    results: list[Result]
    best: dict[str, float]
    differences: list[Difference]
    bars: Bars
    curves: list[Panel]
    statistics: dict[str, Any]
    signals: list[SignalSet]


def chapters(root: Path, chosen: Params) -> list[Chapter]:
    """One for each dataset that has results, in the order of params.yaml. Raises LamarError when there is none."""
    by_dataset = load_results(root / "metrics", list(chosen.runs))
    known = [name for name in chosen.datasets if name in by_dataset]
    return [
        Chapter(
            name,
            results := by_dataset[name],
            best(results),
            differences(results),
            bars(results),
            curves(root / "metrics" / name / "curves", results),
            read_statistics(root, name),
            read_signal_sets(root, name, chosen.report),
        )
        for name in known + sorted(by_dataset.keys() - set(known))
    ]


def render(contents: list[Chapter]) -> str:
    """The page as HTML. Item texts and signals are anybody's, so everything is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["change"] = _change
    return environment.get_template("page.html").render(chapters=contents, metrics=METRICS, labels=LABELS)


def _change(relative: float | None) -> str:
    """0.0312 as +3.1%, with a true minus sign; a dash when there is no ratio."""
    return "–" if relative is None else f"{relative:+.1%}".replace("-", "−")


def summary(contents: list[Chapter]) -> dict[str, Any]:
    """Dataset -> runs (model, features, seeds, metrics) and differences (relative, whether within the noise)."""
    return {
        chapter.name: {
            "runs": {result.run: _run(result) for result in chapter.results},
            "differences": [_difference(difference) for difference in chapter.differences],
        }
        for chapter in contents
    }


def _run(result: Result) -> dict[str, Any]:
    return {"model": result.model, "features": result.features, "seeds": result.seeds, **result.metrics}


def _difference(difference: Difference) -> dict[str, Any]:
    changes = {
        name: {"relative": None if change.relative is None else round(change.relative, 6), "noise": change.noise}
        for name, change in difference.changes.items()
    }
    return {"run": difference.new.run, "against": difference.base.run, **changes}
