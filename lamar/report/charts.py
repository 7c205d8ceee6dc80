"""The geometry of the charts; the page draws them. Everything is in percent of the drawing's width or height."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lamar.report.results import Result

HEADROOM = 1.06  # the longest bar, whisker included, leaves a little room


@dataclass(frozen=True)
class Bar:
    """A result's NDCG@10. width: of the bar; low, high: ends of the whisker; all percent of the axis."""

    result: Result
    width: float
    low: float
    high: float


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


@dataclass(frozen=True)
class Panel:
    """Learning curves on one pair of axes. epochs, values: ticks (percent from the left or from the top, label)."""

    title: str
    results: list[Result]
    lines: list[Line]
    epochs: list[tuple[float, str]]
    values: list[tuple[float, str]]


def bars(results: list[Result]) -> Bars:
    """NDCG@10 with one standard deviation to each side, on an axis that starts at zero."""
    ends = [result.metrics["ndcg@10"] + result.metrics["ndcg@10_std"] for result in results]
    scale = 100 / (max(ends) * HEADROOM or 1)
    popularity = next((result for result in results if result.model == "popularity"), None)
    drawn = [_bar(result, scale) for result in results if result is not popularity]
    return Bars(drawn, popularity, round(popularity.metrics["ndcg@10"] * scale, 2) if popularity else None)


def _bar(result: Result, scale: float) -> Bar:
    mean, spread = result.metrics["ndcg@10"], result.metrics["ndcg@10_std"]
    low, high = (round(max(end, 0) * scale, 2) for end in (mean - spread, mean + spread))
    return Bar(result, round(mean * scale, 2), low, high)


def curves(folder: Path, results: list[Result]) -> list[Panel]:
    """Loss and validation NDCG@10 of every run with epochs in folder/<run>.csv; equal settings share their axes."""
    groups: dict[str, list[tuple[Result, pl.DataFrame]]] = {}
    for result in results:
        path = folder / f"{result.run}.csv"
        if path.exists() and not (curve := _read(path)).is_empty():
            same = f"{result.model} {json.dumps(result.signature['settings'], sort_keys=True)}"
            groups.setdefault(same, []).append((result, curve))
    wanted = {"validation_ndcg@10": "validation NDCG@10", "loss": "training loss"}
    return [
        _panel(f"{group[0][0].model}: {title}", column, group)
        for group in groups.values()
        for column, title in wanted.items()
    ]


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
        results,
        [line for result, table in zip(results, tables, strict=True) for line in _lines(result, table, x, y)],
        [(x(tick), f"{tick:.0f}") for tick in epochs if 1 <= tick <= last],
        [(y(tick), f"{tick:g}") for tick in ticks],
    )


def _lines(result: Result, table: pl.DataFrame, x: _Axis, y: _Axis) -> list[Line]:
    """One line for each seed and stage of a table (seed, stage, step, value)."""
    lines = []
    for _, one in table.group_by("seed", "stage", maintain_order=True):
        points = [f"{x(step)},{y(value)}" for step, value in one.select("step", "value").iter_rows()]
        lines.append(Line(result, " ".join([points[0], *points])))  # the first twice: a single epoch shows as a dot
    return lines


@dataclass(frozen=True)
class _Axis:
    """Maps a value to percent of the way from start to end."""

    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(100 * (value - self.start) / ((self.end - self.start) or 1), 2)
