"""The first of two stages: the best items of the whole catalogue, which a ranker of pools puts in another order."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from lamar import console
from lamar.errors import LamarError
from lamar.params import Run
from lamar.training import fit
from lamar.training.examples import Split

SCHEMA = {"user": pl.Int32, "items": pl.List(pl.Int32), "place": pl.Int32}
"""items: the best ones, best first; place: of the target in the whole ranking, counted from 0."""


def best(model: fit.Trainable, ids: np.ndarray, split: Split, count: int, run: Run) -> pl.DataFrame:
    """The `count` best items for every history of a split (SCHEMA); of equal scores the first in the catalogue.

    ids: the users (users,). As where the whole catalogue is ranked, nothing is taken out. Raises LamarError when a
    score is NaN.
    """
    items = np.empty((len(ids), 0), np.int64)
    places = np.empty(len(ids), np.int64)
    with console.progress() as bar, torch.inference_mode(), fit.precision(run):
        task = bar.add_task(f"best {count} of {run.model}", total=len(ids), note="")
        for rows, found in model.scores(split.histories):
            scores = found.cpu().numpy()
            if np.isnan(scores).any():
                raise LamarError(f"{run.model}: its scores contain NaN: lower its learning rate and train it again")
            order = np.argsort(-scores, axis=1, kind="stable")
            items = items if items.size else np.empty((len(ids), min(count, order.shape[1])), np.int64)
            items[rows] = order[:, :count]
            places[rows] = (order == np.asarray(split.targets)[rows, None]).argmax(axis=1)
            bar.advance(task, len(rows))
    columns = {"user": ids, "items": items.tolist(), "place": places}
    return pl.DataFrame(columns, schema_overrides={"items": SCHEMA["items"]}).cast(SCHEMA)
