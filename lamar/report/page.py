"""The report: one page that needs nothing but itself, and the same numbers as JSON."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lamar.analysis.runs import COMPARED
from lamar.evaluation.metrics import METRICS
from lamar.params import Params
from lamar.report.browser import as_script, browser_data, largest_moves
from lamar.report.catalogue import SignalSet, read_signal_sets, read_statistics
from lamar.report.charts import Bars, GroupChart, Panel, bars, curves, glances, group_charts
from lamar.report.comparison import Difference, best, differences
from lamar.report.costs import Cost, costs
from lamar.report.evidence import Evidence, letters, marks, read_evidence
from lamar.report.provenance import revisions
from lamar.report.rankers import SHOWN, PoolResults, rankers_summary, read_pool_results
from lamar.report.results import Result, load_results
from lamar.report.tables import LABELS
from lamar.report.ties import Ties, read_ties
from lamar.report.words import duration, percent

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Chapter:
    """Everything the page says about one dataset. browser: see `browser_data`; revisions: of its metrics files.

    untried: controls of params.yaml under which nothing was run.
    """

    name: str
    results: list[Result]
    best: dict[str, float]
    ties: dict[str, Ties]
    differences: list[Difference]
    bars: Bars
    curves: list[Panel]
    costs: list[Cost]
    untried: list[str]
    statistics: dict[str, Any]
    signals: list[SignalSet]
    evidence: Evidence
    groups: list[GroupChart]
    browser: dict[str, Any] | None
    rankers: list[PoolResults]
    revisions: dict[str, str]

    @property
    def features_of(self) -> dict[str, str]:
        """Run -> the name of what it reads: what it is coloured by."""
        return {result.run: result.features for result in self.results}


def chapters(root: Path, chosen: Params) -> list[Chapter]:
    """One for each dataset that has results, in the order of params.yaml. Raises LamarError when there is none."""
    by_dataset = load_results(root / "metrics", list(chosen.runs))
    known = [name for name in chosen.datasets if name in by_dataset]
    made_by = revisions(root, "metrics")
    ordered = known + sorted(by_dataset.keys() - set(known))
    return [_chapter(root, name, by_dataset[name], chosen, made_by) for name in ordered]


def _chapter(root: Path, name: str, results: list[Result], chosen: Params, made_by: dict[str, str]) -> Chapter:
    evidence = read_evidence(root, name)
    return Chapter(
        name,
        results,
        best(results),
        read_ties(root, name, results),
        differences(results),
        bars(results),
        curves(root / "metrics" / name / "curves", results),
        costs(root, name, results),
        _untried(results, chosen),
        read_statistics(root, name),
        read_signal_sets(root, name, chosen.report),
        evidence,
        [] if evidence.buckets is None else group_charts(evidence.buckets),
        browser_data(root, name, results),
        read_pool_results(root, name, chosen),
        made_by,
    )


def _untried(results: list[Result], chosen: Params) -> list[str]:
    tried = {result.signature["control"] for result in results}
    return [name for name, features in chosen.features.items() if features.control not in tried]


def render(contents: list[Chapter]) -> str:
    """The page as HTML. Item texts and signals are anybody's, so everything is escaped.

    The page's own script is allowed by its hash; no other script can run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"change": _change, "duration": duration, "json": as_script, "percent": percent}
    environment.globals |= {"marks": marks, "letters": letters, "largest_moves": largest_moves, "compared": COMPARED}
    environment.globals["ranker_metrics"] = {name: LABELS[name] for name in SHOWN}
    script = (HERE / "script.js").read_text(encoding="utf-8")
    allowed = b64encode(sha256(script.encode()).digest()).decode()
    page = environment.get_template("page.html")
    glance = glances({chapter.name: chapter.evidence.pairs for chapter in contents})
    return page.render(
        chapters=contents, glances=glance, metrics=METRICS, labels=LABELS, script=script, allowed=allowed
    )


def _change(relative: float | None) -> str:
    """0.0312 as +3.1%; a dash when there is no ratio."""
    return "–" if relative is None else percent(relative)


def summary(contents: list[Chapter]) -> dict[str, Any]:
    """Dataset -> runs (model, features, seeds, metrics, ties) and differences (relative, whether within the noise)."""
    return {
        chapter.name: {
            "runs": {result.run: _run(result, chapter.ties.get(result.run)) for result in chapter.results},
            "differences": [_difference(difference) for difference in chapter.differences],
            "significance": chapter.evidence.significance,
            "costs": {cost.result.run: _spent(cost) for cost in chapter.costs},
            "rankers": rankers_summary(chapter.rankers),
        }
        for chapter in contents
    }


def _run(result: Result, ties: Ties | None) -> dict[str, Any]:
    tied = {"tied_median": ties.median, "tied_mean": round(ties.mean, 2)} if ties else {}
    return {"model": result.model, "features": result.features, "seeds": result.seeds, **result.metrics, **tied}


def _spent(cost: Cost) -> dict[str, Any]:
    return {"seconds": cost.seconds, "machine": cost.machine, "signals": cost.usage}


def _difference(difference: Difference) -> dict[str, Any]:
    changes = {
        name: {"relative": None if change.relative is None else round(change.relative, 6), "noise": change.noise}
        for name, change in difference.changes.items()
    }
    return {"run": difference.new.run, "against": difference.base.run, **changes}
