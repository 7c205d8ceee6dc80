"""What a result was made from: kept in a file beside its metrics, the same bytes for the same commit, data, machine.

No time, host or revision: those differ between equal runs, and MLflow has them.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from lamar.errors import LamarError
from lamar.files import read_json, sha256_of
from lamar.params import Features

PACKAGES = ("lamar", "torch", "transformers", "polars")  # a change of these can change a number


def signature(choices: dict[str, Any], made_from: dict[str, Any], ranks: pl.DataFrame) -> dict[str, Any]:
    """Everything that made a result.

    choices: dataset, run, model, features, settings, protocol and ties; made_from: what `inputs` gives; ranks: a
    ranks table, whose seeds are the ones that were run.
    """
    return {
        **choices,
        **made_from,
        "seeds": ranks["seed"].unique().sort().to_list(),
        "users": ranks["user"].n_unique(),
        "candidates": ranks["candidates"].max(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def inputs(dataset: str, run: str, features: Features, root: Path = Path()) -> dict[str, Any]:
    """The raw variant, and the sha256 of what the model of `run` reads; `features` are the run's.

    Raises LamarError naming the file that is not there.
    """
    folder = root / "data/sequences" / dataset / run
    encoded = sorted((root / "data/encoded" / dataset / run).glob("*.parquet"))
    signals = {generator: root / "data/signals" / dataset / f"{generator}.parquet" for generator in features.signals}
    return {
        "raw": read_json(root / "data/raw" / dataset / "source.json"),
        "control": features.control,
        "sequences": {table: _sha256(folder / f"{table}.parquet") for table in ("items", "histories")}
        | {table.stem: _sha256(table) for table in encoded},
        "signals": {generator: _sha256(path) for generator, path in signals.items()},
    }


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run the stage that writes it (dvc repro)") from None
