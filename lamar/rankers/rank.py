"""Ranking test pools with every seed of a run, and the checks of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from lamar.params import LoraRun, Params, PoolPopularityRun
from lamar.rankers import checks
from lamar.rankers.kinds import KINDS
from lamar.rankers.pools import MISSING, Asked
from lamar.rankers.ranking import ranks_table, scores_of
from lamar.training import fit
from lamar.training.examples import Sequences


def rank(
    chosen: Params,
    run: PoolPopularityRun | LoraRun,
    sequences: Sequences,
    asked: Asked,
    trained: Path,
    catalogue: int | None = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The ranks table of all seeds, with the weights that `tune` left in the folder `trained`, and what was checked.

    catalogue: of how many items the pools are the best, where they are. The checks are of all seeds together. checked:
    how many pools; target_present: the share of all pools with their target; orders, free: see lamar.rankers.checks.
    Raises LamarError when the weights are not there or a score is NaN.
    """
    rows = checks.sample(asked, run.prompts.checked, run.pools_seed)
    checked = asked.only(rows)
    tables, orders, free = [], [], []
    for seed in run.seeds:
        model = KINDS[run.model].load(chosen, sequences, run, trained / f"seed-{seed}")
        scores = scores_of(model, asked.pools, run, f"seed {seed}")
        tables.append(ranks_table(scores, asked, seed, catalogue))
        orders.append(checks.order_effect(model, checked, scores[rows], run, run.pools_seed))
        with torch.inference_mode(), fit.precision(run):
            free.append(checks.free_answers(model.written(checked.pools), checked.places))
    found = {
        "checked": len(rows),
        "target_present": round(float((asked.places != MISSING).mean()), checks.DIGITS),
        "orders": checks.together(orders, np.mean),
        "free": checks.together(free, sum),
    }
    return pl.concat(tables), found
