"""What the page tells of a dataset beside its results: statistics, and the signals of every generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lamar.files import read_json
from lamar.params import Report
from lamar.report.charts import SimilarityLine, similarity_lines


@dataclass(frozen=True)
class SignalSet:
    """A generator's signals. name: "Primary Use Case", '' when the signals are not here; examples: (title, signal).

    diversity, ratings, usage: what these stages wrote, empty where they did not run.
    """

    generator: str
    quality: dict[str, Any]
    name: str
    examples: list[tuple[str, str]]
    diversity: dict[str, Any]
    lines: list[SimilarityLine]
    ratings: dict[str, Any]
    usage: dict[str, Any]


def read_statistics(root: Path, dataset: str) -> dict[str, Any]:
    """Statistics of the prepared dataset; empty when nobody committed them."""
    path = root / "metrics" / dataset / "statistics.json"
    return read_json(path) if path.exists() else {}


def read_signal_sets(root: Path, dataset: str, chosen: Report) -> list[SignalSet]:
    """One for each quality.json of the dataset; a checkout without the data has the numbers but no examples."""
    return [_signal_set(root, path, chosen) for path in sorted(root.glob(f"metrics/{dataset}/*/quality.json"))]


def _signal_set(root: Path, quality: Path, chosen: Report) -> SignalSet:
    generator, dataset = quality.parts[-2], quality.parts[-3]
    table = root / "data/signals" / dataset / f"{generator}.parquet"
    items = root / "data/prepared" / dataset / "items.parquet"
    name, examples = "", []
    if table.exists() and items.exists():
        signals = pl.read_parquet(table)
        name = signals["name"][0] if signals.height else ""
        examples = _examples(signals, pl.read_parquet(items), chosen)
    return SignalSet(
        generator,
        read_json(quality),
        name,
        examples,
        _read(quality.with_name("diversity.json")),
        similarity_lines(quality.with_name("similarity.csv")),
        _read(quality.with_name("ratings.json")),
        _read(quality.with_name("usage.json")),
    )


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _examples(signals: pl.DataFrame, items: pl.DataFrame, chosen: Report) -> list[tuple[str, str]]:
    """Kept signals, drawn by seed, with their titles (the first attribute is the title)."""
    title = items.columns[2]
    kept = signals.filter("kept").sort("item_id").join(items.select("item_id", title), on="item_id", how="inner")
    drawn = kept.sample(min(chosen.examples, kept.height), seed=chosen.seed)
    return drawn.sort("item_id").select(title, "signal").rows()
