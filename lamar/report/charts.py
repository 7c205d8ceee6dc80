"""The geometry of the charts; the page draws them. Everything is in percent of the drawing's width or height."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lamar.report.evidence import Evidence
from lamar.report.results import Result
from lamar.report.words import percent, signed

HEADROOM = 1.06  # the longest bar, whisker included, leaves a little room


@dataclass(frozen=True)
class Bar:
    """A result's NDCG@10. width: of the bar; whisker: start and width of its interval; percent of the axis.

    ends: the interval as text, '' where there is none.
    """

    result: Result
    width: float
    whisker: tuple[float, float] | None
    ends: str


@dataclass(frozen=True)
class Bars:
    """Bars of all results but popularity, which is the reference line (percent, None when it was not run)."""

    bars: list[Bar]
    popularity: Result | None
    reference: float | None


@dataclass(frozen=True)
class Line:
    """One seed in one stage of training. points: "x,y x,y ..."."""

    result: Result
    points: str

    @property
    def single(self) -> bool:
        """Whether it is one epoch: a dot."""
        return len(set(self.points.split())) == 1


@dataclass(frozen=True)
class Panel:
    """Learning curves on one pair of axes. epochs, values: ticks (percent from the left or from the top, label).

    summary: the same in words.
    """

    title: str
    summary: str
    results: list[Result]
    lines: list[Line]
    epochs: list[tuple[float, str]]
    values: list[tuple[float, str]]


@dataclass(frozen=True)
class Whisker:
    """One pair on one group of users. point, low, high: percent of the axis; value, ends: as text."""

    run: str
    against: str
    point: float
    low: float
    high: float
    value: str
    ends: str


@dataclass(frozen=True)
class GroupRow:
    """A group of users, and every pair on it."""

    name: str
    users: int
    whiskers: list[Whisker]


@dataclass(frozen=True)
class GroupChart:
    """Differences of NDCG@10 by group. by: what divides the users; zero: percent of the axis.

    ticks: a round number, zero and the same number below it (percent from the left, label).
    """

    by: str
    zero: float
    ticks: list[tuple[float, str]]
    rows: list[GroupRow]


@dataclass(frozen=True)
class Glance:
    """A dataset's compared pairs: relative improvement of NDCG@10 with its interval. zero: percent of the axis."""

    dataset: str
    zero: float
    whiskers: list[Whisker]


@dataclass(frozen=True)
class SimilarityLine:
    """Share of highly similar signals over thresholds, by one similarity model. points: as in Line.

    ticks: the thresholds (percent from the left, label); rows: threshold, signals, share.
    """

    model: str
    points: str
    ticks: list[tuple[float, str]]
    rows: list[tuple[float, int, float]]


def bars(results: list[Result], evidence: Evidence) -> Bars:
    """NDCG@10 with its interval where there is one, on an axis that starts at zero; runs that repeat another once."""
    ends = {result.run: evidence.interval(result.run, "ndcg@10") for result in results}
    longest = max(max(result.metrics["ndcg@10"], (ends[result.run] or {"high": 0})["high"]) for result in results)
    scale = 100 / (longest * HEADROOM or 1)
    popularity = next((result for result in results if result.model == "popularity"), None)
    drawn = [result for result in results if result is not popularity and result.run not in evidence.repeats]
    return Bars(
        [_bar(result, ends[result.run], scale) for result in drawn],
        popularity,
        round(popularity.metrics["ndcg@10"] * scale, 2) if popularity else None,
    )


def _bar(result: Result, ends: dict[str, float] | None, scale: float) -> Bar:
    whisker = (round(ends["low"] * scale, 2), round((ends["high"] - ends["low"]) * scale, 2)) if ends else None
    written = f"{ends['low']:.4f} to {ends['high']:.4f}" if ends else ""
    return Bar(result, round(result.metrics["ndcg@10"] * scale, 2), whisker, written)


def curves(folder: Path, results: list[Result]) -> list[Panel]:
    """Loss and validation NDCG@10 of every run with epochs in folder/<run>.csv; equal settings share their axes."""
    groups: dict[str, list[tuple[Result, pl.DataFrame]]] = {}
    for result in results:
        path = folder / f"{result.run}.csv"
        if path.exists() and not (curve := _read(path)).is_empty():
            same = f"{result.model} {json.dumps(result.signature['settings'], sort_keys=True)}"
            groups.setdefault(same, []).append((result, curve))
    wanted = {"validation_ndcg@10": "validation NDCG@10", "loss": "training loss"}
    models = [group[0][0].model for group in groups.values()]
    return [
        _panel(f"{_name(group, models)}: {title}", column, group)
        for group in groups.values()
        for column, title in wanted.items()
    ]


def _name(group: list[tuple[Result, pl.DataFrame]], models: list[str]) -> str:
    """The model of a group, or its runs when another group has the same model in other settings."""
    model = group[0][0].model
    return model if models.count(model) == 1 else ", ".join(result.run for result, _ in group)


def _read(path: Path) -> pl.DataFrame:
    """A run's curves (seed, stage, epoch, loss, validation_ndcg@10), with `step`: epochs since the start."""
    return pl.read_csv(path).with_columns(step=pl.int_range(1, pl.len() + 1).over("seed"))


def _panel(title: str, column: str, group: list[tuple[Result, pl.DataFrame]]) -> Panel:
    """The curves of `column`; an epoch without a value is left out."""
    from matplotlib.ticker import MaxNLocator

    known = pl.col(column).cast(pl.Float64)
    tables = [table.select("seed", "stage", "step", value=known).drop_nulls().drop_nans() for _, table in group]
    points = pl.concat(tables)
    last = points["step"].max() or 1
    epochs = MaxNLocator(nbins=6, integer=True).tick_values(1, last)
    ticks = MaxNLocator(nbins=4).tick_values(points["value"].min() or 0, points["value"].max() or 0)
    x, y = _Axis(1, last), _Axis(ticks[-1], ticks[0])
    results = [result for result, _ in group]
    return Panel(
        title,
        "; ".join(_in_words(result, table) for result, table in zip(results, tables, strict=True)),
        results,
        [line for result, table in zip(results, tables, strict=True) for line in _lines(result, table, x, y)],
        [(x(tick), f"{tick:.0f}") for tick in epochs if 1 <= tick <= last],
        [(y(tick), f"{tick:g}") for tick in ticks],
    )


def _in_words(result: Result, table: pl.DataFrame) -> str:
    """How the values of a table (seed, step, value) go: from the mean over seeds at the first step to the extremes."""
    if table.is_empty():
        return f"{result.run}: no values"
    first = table.filter(pl.col("step") == pl.col("step").min())["value"].mean()
    ends = f"lowest {table['value'].min():.4f}, highest {table['value'].max():.4f}"
    return f"{result.run} begins at {first:.4f}, {ends} over {table['step'].max()} epochs"


def _lines(result: Result, table: pl.DataFrame, x: _Axis, y: _Axis) -> list[Line]:
    """One line for each seed and stage of a table (seed, stage, step, value)."""
    lines = []
    for _, one in table.group_by("seed", "stage", maintain_order=True):
        points = [f"{x(step)},{y(value)}" for step, value in one.select("step", "value").iter_rows()]
        lines.append(Line(result, " ".join([points[0], *points])))  # the first twice: a single epoch shows as a dot
    return lines


def group_charts(buckets: pl.DataFrame) -> list[GroupChart]:
    """One chart for each way of dividing the users; buckets: columns of lamar.analysis.buckets.SCHEMA."""
    differences = buckets.filter(pl.col("metric") == "ndcg@10", pl.col("against") != "")
    return [_group_chart(by, table) for (by,), table in differences.group_by("by", maintain_order=True)]


def _group_chart(by: str, table: pl.DataFrame) -> GroupChart:
    farthest = max(map(abs, [*table["low"], *table["high"]])) or 1.0
    x = _Axis(-farthest, farthest)  # the same on both sides: the ticks' labels have room, and zero is in the middle
    tick = _round_below(farthest)
    rows = [
        GroupRow(name, users, [_whisker(x, row) for row in group.iter_rows(named=True)])
        for (name, users), group in table.group_by("bucket", "users", maintain_order=True)
    ]
    ticks = [(x(value), f"{value:+g}".replace("-", "−") if value else "0") for value in (-tick, 0.0, tick)]
    return GroupChart(by, x(0.0), ticks, rows)


def _round_below(value: float) -> float:
    """The largest number of one digit that is not above a positive value: 0.04 for 0.0463."""
    power = 10.0 ** math.floor(math.log10(value))
    return round(math.floor(value / power + 1e-9) * power, 12)  # 0.3 / 0.1 is a little below 3


def _whisker(x: _Axis, row: dict[str, Any]) -> Whisker:
    places = [x(row[name]) for name in ("value", "low", "high")]
    value, low, high = (signed(row[name]) for name in ("value", "low", "high"))
    return Whisker(row["run"], row["against"], *places, value, f"{low} to {high}")


def glances(pairs: dict[str, list[dict[str, Any]]]) -> list[Glance]:
    """One for each dataset whose pairs have a ratio, all on one axis; pairs: as `significance` writes them."""
    found = {dataset: [pair for pair in own if pair["ndcg@10"]["relative"]] for dataset, own in pairs.items()}
    ends = [end for own in found.values() for pair in own for end in pair["ndcg@10"]["relative"].values()]
    x = _Axis(min([0.0, *ends]), max([0.0, *ends]))
    return [Glance(dataset, x(0.0), [_share(x, pair) for pair in own]) for dataset, own in found.items() if own]


def _share(x: _Axis, pair: dict[str, Any]) -> Whisker:
    relative = pair["ndcg@10"]["relative"]
    places = [x(relative[name]) for name in ("value", "low", "high")]
    value, low, high = (percent(relative[name]) for name in ("value", "low", "high"))
    return Whisker(pair["run"], pair["against"], *places, value, f"{low} to {high}")


def similarity_lines(path: Path) -> list[SimilarityLine]:
    """The similarity curves of a generator, from similarity.csv; thresholds from left to right, shares upwards."""
    if not path.exists():
        return []
    table = pl.read_csv(path)
    x, y = _Axis(table["threshold"].min(), table["threshold"].max()), _Axis(1, 0)
    return [
        SimilarityLine(
            model,
            " ".join(f"{x(at)},{y(share)}" for at, share in line.select("threshold", "share").iter_rows()),
            [(x(at), f"{at:g}") for at in line["threshold"]],
            line.select("threshold", "rows", "share").rows(),
        )
        for (model,), line in table.group_by("similarity", maintain_order=True)
    ]


@dataclass(frozen=True)
class _Axis:
    """Maps a value to percent of the way from start to end."""

    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(100 * (value - self.start) / ((self.end - self.start) or 1), 2)
