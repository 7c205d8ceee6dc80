"""A small dataset's ranks and signatures, with differences of our choosing."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from lamar.analysis.runs import COMPARED, RunValues
from lamar.evaluation.ranks import SCHEMA, write

SETTINGS = {"layers": 2}
SIGNALS = {"original": {}, "lamar": {"writer": "abc"}, "placebo": {"writer": "abc"}}
CONTROLS = {"original": "none", "lamar": "none", "placebo": "shuffled"}


def signature(features: str, model: str = "m", **other) -> dict:
    made = {"model": model, "features": features, "settings": SETTINGS, "seeds": [0], "ties": "expected"}
    return made | {"signals": SIGNALS[features], "control": CONTROLS[features]} | other


def run_values(features: str, values: np.ndarray, **other) -> RunValues:
    """values: (users, seeds); every metric is the same."""
    users = np.arange(len(values))
    repeated = np.repeat(values[:, :, None], len(COMPARED), axis=2)
    return RunValues(f"m-{features}", signature(features, **other), users, users, repeated)


def write_run(root: Path, run: str, made: dict, greater: np.ndarray, items: np.ndarray) -> None:
    """A run on the dataset `tiny`; greater: (seeds, users), items: (users,)."""
    full = root / "metrics/tiny/full"
    full.mkdir(parents=True, exist_ok=True)
    (full / f"{run}.signature.json").write_text(json.dumps(made))
    seeds, users = greater.shape
    columns = {
        "user": np.tile(np.arange(users), seeds),
        "item": np.tile(items, seeds),
        "seed": np.repeat(np.arange(seeds), users),
        "greater": greater.ravel(),
        "equal": np.zeros(greater.size),
        "candidates": np.full(greater.size, 500),
    }
    write(root / f"ranks/tiny/full/{run}.parquet", pl.DataFrame(columns).cast(SCHEMA))
