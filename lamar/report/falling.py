"""How a ranker's numbers fall with more candidates: sizes of pools compare on the same users with the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl

from lamar.evaluation import ranks
from lamar.evaluation.metrics import summarise
from lamar.params import Params


@dataclass(frozen=True)
class Falling:
    """One run on the users and seeds that its smallest pools share; metrics: by the number of candidates."""

    run: str
    users: int
    seeds: int
    metrics: dict[int, dict[str, float]]


def read_falling(root: Path, dataset: str, chosen: Params) -> list[Falling]:
    """Of every run with ranks of pools of random candidates in ranks/<dataset>/; those with most sizes come first.

    A run has several when it ranked fewer users or seeds in larger pools: all sizes on those, and the smaller sizes on
    as many as these share.
    """
    kinds = {name: kind.candidates for name, kind in chosen.pools.items() if not kind.first}
    found: dict[str, dict[int, pl.DataFrame]] = {}
    for name, candidates in sorted(kinds.items(), key=lambda kind: kind[1]):
        for path in (root / "ranks" / dataset / name).glob("*.parquet"):
            found.setdefault(path.stem, {})[candidates] = ranks.read(path)
    places = {run: place for place, run in enumerate(chosen.runs)}
    runs = sorted(found, key=lambda run: (places.get(run, len(places)), run))
    falls = [one for run in runs for one in _falls(run, found[run], chosen.evaluate.ties)]
    return sorted(falls, key=lambda one: -len(one.metrics))


def _falls(run: str, tables: dict[int, pl.DataFrame], ties: str) -> Iterator[Falling]:
    """From all sizes down to two, or to one where there is but one, wherever fewer sizes share more."""
    before: tuple[int, int] | None = None
    for sizes in range(len(tables), min(len(tables), 2) - 1, -1):
        smallest = dict(list(tables.items())[:sizes])
        users, seeds = (_shared(smallest, column) for column in ("user", "seed"))
        if users and seeds and (len(users), len(seeds)) != before:
            before = len(users), len(seeds)
            same = pl.col("user").is_in(users) & pl.col("seed").is_in(seeds)
            metrics = {size: summarise(table.filter(same), ties) for size, table in smallest.items()}
            yield Falling(run, *before, metrics)


def _shared(tables: dict[int, pl.DataFrame], column: str) -> set[int]:
    return reduce(set.intersection, (set(table[column]) for table in tables.values()))
