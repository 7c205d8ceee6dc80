"""A dataset entry and prepared tables, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lamar.params import Dataset


@dataclass
class Prepared:
    items: pl.DataFrame
    interactions: pl.DataFrame
    split: pl.DataFrame
    statistics: dict[str, Any]
    folder: Path


def make_dataset(**changes: Any) -> Dataset:
    defaults = {
        "reader": "amazon",
        "attributes": ["title", "brand", "category"],
        "prompt": "any",
        "ties": "file",
        "sample_users": 1.0,
        "sources": [{"mirror": "below", "files": ["any"]}],
    }
    return Dataset.model_validate(defaults | changes)
