"""From the scores of pools to the ranks table, where a target outside its pool keeps the place it had before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from lamar import console
from lamar.evaluation.ranks import SCHEMA, rank_scores
from lamar.params import Run
from lamar.rankers.pools import MISSING, Asked, Pool
from lamar.training import fit


def scores_of(model: Any, pools: Sequence[Pool], run: Run, note: str = "") -> np.ndarray:
    """The score of every candidate of every pool, float32 (pools, candidates); pools have equally many."""
    scores = np.full((len(pools), len(pools[0].candidates)), np.nan, np.float32)
    with console.progress() as bar, torch.inference_mode(), fit.precision(run):
        task = bar.add_task(f"{run.model} {run.features}", total=len(pools), note=note)
        for rows, part in model.scores(pools):
            scores[rows] = part.cpu().numpy()
            bar.advance(task, len(rows))
    return scores


def ranks_table(scores: np.ndarray, asked: Asked, seed: int, catalogue: int | None = None) -> pl.DataFrame:
    """The ranks table (contract 4) of one seed. scores: (pools, candidates).

    Where the pools are the best of a `catalogue` of so many items, what is ranked is the whole catalogue: the pool in
    its new order, then all other items as they were. A target that is missing from its pool keeps its place there, a
    miss at any k within the pool, and results compare with those of the first stage alone. Raises LamarError for NaN.
    """
    there = asked.places != MISSING
    greater, equal = asked.beyond.astype(np.int32), np.zeros(len(there), np.int32)
    greater[there], equal[there] = rank_scores(scores[there], asked.places[there])
    columns = (asked.ids, asked.targets, seed, greater, equal, catalogue or scores.shape[1])
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True))).cast(SCHEMA)
