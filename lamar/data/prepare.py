"""Raw files to the three tables that everything else reads: items, interactions, split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamar.console import say
from lamar.data import amazon, movielens, splits, storylines, table
from lamar.data.raw import Raw
from lamar.data.statistics import malformed, repeats_and_ties, statistics
from lamar.engine import Engine, here
from lamar.errors import LamarError
from lamar.files import put_parquet, read_json, streamed, write_json, written_whole
from lamar.params import Dataset, Prepare, Storylines

PREPARED = {"user": pl.Int32, "item": pl.Int32, "timestamp": pl.Int64, "position": pl.Int32}


def prepare(
    name: str,
    dataset: Dataset,
    options: Prepare,
    raw: Path,
    prepared: Path,
    report: Path,
    engine: Engine = here,
) -> None:
    """Read `raw`, write {items,interactions,split}.parquet to `prepared` and the statistics to `report`.

    items: item (i32, 0..n-1 in the order of item_id), item_id, attributes..., description when the source has one.
    interactions: user, item (i32), timestamp (i64, seconds), position (i32, from 0 within the user).
    split: user (i32, in the order of user_id), user_id, train (i32, the first so many interactions of the user),
    validation, test (items), fold ('explore' or 'confirm').
    engine: where the lines of Amazon's files are parsed; the rest is done here.
    Raises LamarError when a file is broken, has too many malformed lines, or leaves no user.
    """
    source = read_json(raw / "source.json")
    catalogue = _read(dataset, raw, list(source["files"]), engine)
    for tally in catalogue.tallies:
        tally.check(options.max_malformed)
    numbered, dropped = _numbered(name, catalogue, dataset, options)
    split, found = _write(prepared, numbered, dataset, options)
    summary = {
        "variant": source["variant"],
        **statistics(numbered.items, split, found),
        "dropped": dict(sorted((catalogue.dropped | dropped).items())),
        "malformed": malformed(catalogue.tallies),
    } | ({"storylines": catalogue.storylines} if catalogue.storylines else {})
    write_json(report, summary)
    _tell(name, dataset, summary)


def _read(dataset: Dataset, folder: Path, files: list[str], engine: Engine) -> Raw:
    for file in files:
        if not (folder / file).is_file():
            raise LamarError(f"{folder / file}: no such file; run the stage fetch")
    if dataset.reader == "table":
        return table.read(folder, dataset)
    if dataset.storylines:
        return _with_storylines(dataset, dataset.storylines, folder, files)
    reader = {"movielens": movielens.read, "amazon": partial(amazon.read, engine=engine)}[dataset.reader]
    return reader(folder, files, dataset.attributes)


def _with_storylines(dataset: Dataset, chosen: Storylines, folder: Path, files: list[str]) -> Raw:
    archives = [file for file in files if file != chosen.file]
    films = movielens.read(folder, archives, [name for name in dataset.attributes if name != storylines.ATTRIBUTE])
    catalogue = storylines.joined(films, folder / chosen.file, chosen.columns)
    return replace(catalogue, items=catalogue.items.select("item_id", *dataset.attributes))


@dataclass
class Numbered:
    """Users and items by their numbers, and what is between them, still to be sorted.

    users: the ids; items: the table; parts: user, item (i32), timestamp, all interactions of some users at a time.
    """

    users: pl.Series
    items: pl.DataFrame
    parts: Iterator[pl.DataFrame]


def _numbered(name: str, raw: Raw, dataset: Dataset, options: Prepare) -> tuple[Numbered, dict[str, int]]:
    """The users that are kept and their items, and how many users and items were left out on the way."""
    interactions = raw.interactions
    ids, counts = interactions.ids["user"], interactions.counts("user")
    drawn = np.zeros(len(ids), dtype=bool)
    present = np.flatnonzero(counts)
    drawn[present] = splits.sampled(ids.gather(present), dataset.sample_users, options.seed)
    kept = drawn & (counts >= options.min_interactions)
    if not kept.any():
        raise LamarError(
            f"dataset {name}: no user has {options.min_interactions} interactions or more; {counts.sum()} "
            f"were usable, left out: {raw.dropped}; check the raw files and datasets.{name} in params.yaml"
        )
    interactions.kept["user"] = kept
    item_ids, items = splits.numbered(interactions.ids["item"], interactions.counts("item") > 0)
    users, numbers = splits.numbered(ids, kept)
    known = raw.items.filter(pl.col("item_id").is_in(item_ids.implode()))
    dropped = {
        "users_not_sampled": len(present) - int(drawn.sum()),
        "users_too_few_interactions": int(drawn.sum() - kept.sum()),
        "interactions_of_those_users": int(counts[drawn].sum() - counts[kept].sum()),
        "items_without_interactions": raw.items.height - known.height,
    }
    table = known.sort("item_id").with_row_index("item").with_columns(pl.col("item").cast(pl.Int32))
    return Numbered(users, table, interactions.by_user({"user": numbers, "item": items})), dropped


def _write(folder: Path, numbered: Numbered, dataset: Dataset, options: Prepare) -> tuple[pl.DataFrame, Counter[str]]:
    """Write all tables or, when one cannot be written, none. Returns the split, and `repeats_and_ties`."""
    ends: list[pl.DataFrame] = []
    found: Counter[str] = Counter()

    def sorted_parts() -> Iterator[pl.DataFrame]:
        for part in numbered.parts:
            table = splits.ordered(part, numbered.users, numbered.items["item_id"], dataset.ties, options.seed)
            ends.append(splits.leave_one_out(table, numbered.users, options.confirm_share, options.seed))
            found.update(repeats_and_ties(table))
            yield table

    with ExitStack() as all_or_none:

        def put(name: str, table: pl.DataFrame | pl.LazyFrame) -> None:
            put_parquet(all_or_none.enter_context(written_whole(folder / f"{name}.parquet")), table)

        put("items", numbered.items)
        put("interactions", streamed(sorted_parts(), PREPARED))
        split = pl.concat(ends, rechunk=True)
        put("split", split)
    return split, found


def _tell(name: str, dataset: Dataset, summary: dict[str, Any]) -> None:
    """Print the counts, what they should be, and what was left out."""
    variant, counts = summary["variant"], {key: summary[key] for key in ("users", "items", "interactions")}
    say(f"{name} ({variant}): {_counted(counts)}")
    expected = dataset.expected.get(variant)
    if expected and dataset.sample_users < 1:
        say(f"  not compared: {_counted(expected.model_dump())} are of another random share of the users")
    elif expected and expected.model_dump() == counts:
        say("  OK: the counts that params.yaml expects")
    elif expected:
        say(f"  WARNING: params.yaml expects {_counted(expected.model_dump())}")
    if found := summary.get("storylines"):
        share = f"{found['joined']:,} of {found['films']:,} films ({found['share']:.1%})"
        say(f"  storylines: {share} joined with {found['file']}")
    for kind in ("dropped", "malformed"):
        reasons = [f"{reason} {count:,}" for reason, count in summary[kind].items() if count]
        if reasons:
            say(f"  {kind}: {', '.join(reasons)}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
