"""The report: one page that needs nothing but itself, and the same numbers as JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from lamar.analysis.runs import COMPARED
from lamar.evaluation.metrics import METRICS
from lamar.report import charts
from lamar.report.browser import as_script
from lamar.report.chapter import Chapter
from lamar.report.comparison import best
from lamar.report.costs import Cost
from lamar.report.evidence import letters, marks
from lamar.report.layout import families
from lamar.report.ranker_tables import checks_table, falling_table, pool_table
from lamar.report.rankers import rankers_summary
from lamar.report.results import Result
from lamar.report.signal_tables import SIGNAL_TABLES
from lamar.report.tables import LABELS, TABLES
from lamar.report.ties import Ties
from lamar.report.words import percent

HERE = Path(__file__).parent


def render(contents: Sequence[Chapter], root: Path, origins: Mapping[str, str], min_users: int) -> str:
    """The page as HTML. Item texts and signals are anybody's, so everything is escaped.

    origins: see lamar.report.provenance; min_users: of a group that is shown. The page's own script is allowed by its
    hash; no other script can run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"json": as_script, "percent": percent}
    environment.globals |= {"marks": marks, "letters": letters, "compared": COMPARED, "metrics": METRICS}
    environment.globals |= {
        "labels": LABELS,
        "tables": TABLES,
        "signal_tables": SIGNAL_TABLES,
        "best": best,
        "families_of": families,
        "bars_of": charts.bars,
    }
    environment.globals |= {"groups_of": charts.group_charts, "origins": origins, "min_users": min_users}
    environment.globals |= {"falling_table": falling_table, "pool_table": pool_table, "checks_table": checks_table}
    script = (HERE / "script.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        chapters=contents,
        curves={one.name: charts.curves(root / "metrics" / one.name / "curves", one.results) for one in contents},
        glances=charts.glances({chapter.name: chapter.evidence.pairs for chapter in contents}),
        script=script,
        allowed=b64encode(sha256(script.encode()).digest()).decode(),
    )


def summary(contents: Sequence[Chapter]) -> dict[str, Any]:
    """Dataset -> everything that the page has in numbers, but for curves and single items."""
    return {
        chapter.name: {
            "runs": {result.run: _run(result, chapter.ties.get(result.run)) for result in chapter.results},
            "differences": [
                {"run": one.new.run, "against": one.base.run} | {name: _round(by) for name, by in one.changes.items()}
                for one in chapter.differences
            ],
            "significance": chapter.evidence.significance,
            "groups": [] if chapter.evidence.buckets is None else chapter.evidence.buckets.to_dicts(),
            "costs": {cost.result.run: _spent(cost) for cost in chapter.costs},
            "statistics": chapter.statistics,
            "signals": {
                one.generator: {
                    "quality": one.quality,
                    "diversity": one.diversity,
                    "similarity": {line.model: line.rows for line in one.lines},
                    "ratings": one.ratings,
                }
                for one in chapter.signals
            },
            "rankers": rankers_summary(chapter.rankers),
        }
        for chapter in contents
    }


def _run(result: Result, ties: Ties | None) -> dict[str, Any]:
    tied = {"tied_median": ties.median, "tied_mean": round(ties.mean, 2)} if ties else {}
    return {"model": result.model, "features": result.features, "seeds": result.seeds, **result.metrics, **tied}


def _spent(cost: Cost) -> dict[str, Any]:
    return {"seconds": cost.seconds, "machine": cost.machine, "signals": cost.usage}


def _round(relative: float | None) -> float | None:
    return None if relative is None else round(relative, 6)
