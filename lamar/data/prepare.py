"""Raw files to the three tables that everything else reads: items, interactions, split."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from lamar.console import say
from lamar.data import amazon, movielens, splits, storylines, table
from lamar.data.raw import Raw
from lamar.data.statistics import malformed, statistics
from lamar.engine import Engine, here
from lamar.errors import LamarError
from lamar.files import put_parquet, read_json, write_json, written_whole
from lamar.params import Dataset, Prepare, Storylines


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
    tables, dropped = _tables(name, catalogue, dataset, options)
    summary = {
        "variant": source["variant"],
        **statistics(**tables),
        "dropped": dict(sorted((catalogue.dropped | dropped).items())),
        "malformed": malformed(catalogue.tallies),
    } | ({"storylines": catalogue.storylines} if catalogue.storylines else {})
    _write(prepared, tables)
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


def _tables(name: str, raw: Raw, dataset: Dataset, options: Prepare) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """items, interactions and split, and how many users and items were left out on the way.

    The interactions of `raw` are taken, and every step lets go of what the one before it held.
    """
    interactions = raw.take_interactions()
    counts = [_sizes(interactions)]
    interactions = splits.sampled(interactions, dataset.sample_users, options.seed)
    counts.append(_sizes(interactions))
    interactions = interactions.filter(pl.len().over("user_id") >= options.min_interactions)
    counts.append(_sizes(interactions))
    if interactions.is_empty():
        raise LamarError(
            f"dataset {name}: no user has {options.min_interactions} interactions or more; {counts[0][1]} "
            f"were usable, left out: {raw.dropped}; check the raw files and datasets.{name} in params.yaml"
        )
    known = raw.items.filter(pl.col("item_id").is_in(interactions["item_id"].unique().implode()))
    (users, _), (drawn_users, drawn), (kept_users, kept) = counts
    dropped = {
        "users_not_sampled": users - drawn_users,
        "users_too_few_interactions": drawn_users - kept_users,
        "interactions_of_those_users": drawn - kept,
        "items_without_interactions": raw.items.height - known.height,
    }
    interactions, names, items = splits.numbered(interactions, known)
    interactions = splits.ordered(interactions, names, items, dataset.ties, options.seed)
    split = splits.leave_one_out(interactions, names, options.confirm_share, options.seed)
    return {"items": items, "interactions": interactions, "split": split}, dropped


def _sizes(interactions: pl.DataFrame) -> tuple[int, int]:
    """How many users and interactions."""
    return interactions["user_id"].n_unique(), interactions.height


def _write(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Write all tables or, when one cannot be written, none."""
    with ExitStack() as all_or_none:
        for key, frame in tables.items():
            unfinished = all_or_none.enter_context(written_whole(folder / f"{key}.parquet"))
            put_parquet(unfinished, frame)


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
