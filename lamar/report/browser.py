"""Everything known about every item, for the page's search: metadata, signals, and whose ranks they moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamar.analysis.pairs import pairs
from lamar.evaluation import ranks as tables
from lamar.report.results import Result

MOVES = 3  # users shown for an item


def browser_data(root: Path, dataset: str, results: list[Result]) -> dict[str, Any] | None:
    """columns: the attributes; generators; compared: the two runs; items: id, texts, signals, moves. None without data.

    An item's signals are [text, why it was rejected or ''] by generator, null where none was asked for; its moves are
    [user, rank before, rank after] of the users whose test target it is, the largest changes first.
    """
    prepared = root / "data/prepared" / dataset / "items.parquet"
    if not prepared.exists():
        return None
    items = pl.read_parquet(prepared)
    signals = {path.stem: _signals(path) for path in sorted((root / "data/signals" / dataset).glob("*.parquet"))}
    columns = [name for name in items.columns if name not in ("item", "item_id", "description")]
    compared = next(iter(pairs({result.run: result.signature for result in results})), None)
    moves = _moves(root, dataset, compared) if compared else {}
    rows = [
        [item_id, texts, [found.get(item_id) for found in signals.values()], moves.get(item, [])]
        for item, item_id, *texts in items.select("item", "item_id", *columns).iter_rows()
    ]
    return {"columns": columns, "generators": list(signals), "compared": compared, "items": rows}


def as_script(data: dict[str, Any]) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or begin a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _signals(path: Path) -> dict[str, list[str]]:
    table = pl.read_parquet(path)
    reasons = pl.when("kept").then(pl.lit("")).otherwise("reason")
    return {item: [signal, reason] for item, signal, reason in table.select("item_id", "signal", reasons).iter_rows()}


def _moves(root: Path, dataset: str, compared: tuple[str, str]) -> dict[int, list[list[float]]]:
    """By item, its users with the largest relative changes of rank from the base to the run with signals."""
    paths = [root / "ranks" / dataset / "full" / f"{run}.parquet" for run in compared]
    if not all(path.exists() for path in paths):
        return {}
    after, before = (_mean_ranks(path) for path in paths)
    joined = before.join(after, on=["user", "item"], suffix="_after").with_columns(
        change=(pl.col("rank_after") / pl.col("rank")).log().abs()
    )
    largest = joined.sort("change", "user", descending=[True, False]).group_by("item", maintain_order=True).head(MOVES)
    moves: dict[int, list[list[float]]] = {}
    for item, *move in largest.select("item", "user", "rank", "rank_after").iter_rows():
        moves.setdefault(item, []).append(move)
    return moves


def _mean_ranks(path: Path) -> pl.DataFrame:
    """user, item, rank: from 1, expected over ties and averaged over seeds."""
    expected = (pl.col("greater") + pl.col("equal") / 2 + 1).mean().round(1).alias("rank")
    return tables.read(path).group_by("user", "item").agg(expected)


def largest_moves(data: dict[str, Any], most: int) -> list[tuple[str, int, float, float]]:
    """(title, user, rank before, rank after) of the `most` users whose ranks changed most."""
    moves = [(texts[0], *move) for _, texts, _, found in data["items"] for move in found]
    return sorted(moves, key=lambda move: (-abs(np.log(move[3] / move[2])), move[1]))[:most]
