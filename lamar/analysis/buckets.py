"""Where signals help: every run and every pair on groups of users, with intervals.

The paper claims a help for items with few interactions (sections 1 and 2) and does not measure it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from lamar.analysis.groups import TOPICS, Group, novelty, quantiles, ranges, topics, training_counts
from lamar.analysis.runs import COMPARED, RunValues
from lamar.analysis.significance import compared_runs, pair_intervals, repeats, resampled_means, run_intervals
from lamar.console import say
from lamar.params import Buckets, Significance

SCHEMA = {
    "by": pl.String,
    "bucket": pl.String,
    "users": pl.Int64,
    "run": pl.String,
    "against": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def bucket_groups(prepared: Path, embeddings: Path, runs: Sequence[RunValues], chosen: Buckets) -> list[Group]:
    """The groups of the users that `runs` rank: by the target's popularity and topic, history, and signal novelty.

    embeddings: data/embeddings/<dataset>, with one folder for each generator. Novelty is that of the signals that the
    runs read; where their vectors are not there, it is said, and these groups are left out.
    """
    run = runs[0]
    items, interactions, split = (
        pl.read_parquet(prepared / f"{name}.parquet") for name in ("items", "interactions", "split")
    )
    seen = training_counts(interactions, split, items.height)
    length = split.sort("user")["train"].to_numpy()[run.users] + 1  # a test history ends with the validation item
    groups = [
        *ranges("popularity", seen[run.items], chosen.popularity),
        *ranges("history", length, chosen.history),
    ]
    for attribute in (name for name in TOPICS if name in items.columns):
        of_items = TOPICS[attribute](items[attribute].to_list())
        groups += topics(attribute, [of_items[item] for item in run.items], chosen.topics)
    for generator in sorted({name for run in runs for name in run.signature["signals"]}):
        path = embeddings / generator / f"{chosen.similarity}.parquet"
        if path.exists():
            groups += quantiles(f"novelty {generator}", _novelty(path, items)[run.items], chosen.novelty)
        else:
            say(f"{path}: no such file, so no groups by the novelty of these signals (matrix.similarity)")
    return groups


def _novelty(path: Path, items: pl.DataFrame) -> np.ndarray:
    """Novelty of each item's signal, (items,); NaN where there is none."""
    vectors = pl.read_parquet(path)
    known = pl.DataFrame({"item_id": vectors["item_id"], "novelty": novelty(vectors)})
    joined = items.select("item_id").join(known, on="item_id", how="left", maintain_order="left")
    return joined["novelty"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def bucket_table(
    runs: Sequence[RunValues], groups: Sequence[Group], chosen: Buckets, chance: Significance
) -> pl.DataFrame:
    """Columns of SCHEMA: value and interval of each metric on each group of at least `min_users` users.

    `against` is empty for a run's own value; for a pair it names the base, and the value is the difference. Users
    are resampled within their group. Runs that repeat another are left out, but in pairs. Many groups are looked at and
    nothing is corrected for that: an interval that excludes zero is a hint where to look, and no proof.
    """
    same = repeats(runs)
    own = [run.run for run in runs if run.run not in same]
    names = [(new.run, base.run) for new, base in compared_runs(runs)]
    rows = []
    for group in groups:
        users = int(group.members.sum())
        if users >= chosen.min_users:
            inside = {run.run: _within(run, group) for run in runs}
            rows += [(group.by, group.name, users, *row) for row in _rows(inside, own, names, chance)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _within(run: RunValues, group: Group) -> RunValues:
    inside = group.members
    return replace(run, users=run.users[inside], items=run.items[inside], values=run.values[inside])


def _rows(
    runs: Mapping[str, RunValues], own: Sequence[str], pairs: Sequence[tuple[str, str]], chance: Significance
) -> list[tuple[str, str, str, float, float, float]]:
    """run, against, metric, value, low, high: of the runs `own` by themselves, and of the pairs."""
    means = resampled_means(list(runs.values()), chance)
    found = {(name, ""): run_intervals(runs[name], means, chance) for name in own}
    for new, base in pairs:
        intervals = pair_intervals((runs[new], runs[base]), means, chance)
        found[new, base] = {name: intervals[name]["difference"] for name in COMPARED}
    return [(*names, metric, *ends.values()) for names, metrics in found.items() for metric, ends in metrics.items()]
