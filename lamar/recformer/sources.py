"""What a Recformer is pre-trained on: the item texts and training sequences of several datasets, as if of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.text.histories import histories
from lamar.text.items import enriched
from lamar.training.examples import Split

PREPARED = Path("data/prepared")
TABLES = ("items", "interactions", "split")


@dataclass
class Sources:
    """texts: of each dataset an item table as `enriched` gives it; items are numbered through all of them.

    train: sequences without the validation and test items; validation: ranked on those sequences.
    """

    texts: list[pl.DataFrame] = field(default_factory=list)
    train: list[np.ndarray] = field(default_factory=list)
    validation: list[int] = field(default_factory=list)

    @property
    def ranked(self) -> Split:
        """What tells one epoch from another."""
        return Split(self.train, np.array(self.validation))

    def add(self, dataset: str, attributes: list[str]) -> None:
        """One more dataset, of whose items `attributes` are read."""
        items, interactions, split = (pl.read_parquet(path) for path in files(dataset))
        before = sum(text.height for text in self.texts)
        sequences = histories(interactions, split)
        self.texts.append(enriched(items, attributes, []))
        self.train += [np.array(sequence, np.int64) + before for sequence in sequences["train"].to_list()]
        self.validation += [before + item for item in sequences["validation"]]


def read_sources(wanted: dict[str, list[str]]) -> Sources:
    """All datasets of `wanted`, with the attributes to read. Raises LamarError when one is not prepared."""
    sources = Sources()
    for dataset, attributes in wanted.items():
        sources.add(dataset, attributes)
    return sources


def files(dataset: str) -> list[Path]:
    """The prepared tables of a dataset. Raises LamarError when they are not there."""
    paths = [PREPARED / dataset / f"{table}.parquet" for table in TABLES]
    for path in paths:
        if not path.exists():
            raise LamarError(f"{path}: no such file; list {dataset} in matrix.datasets of params.yaml, then dvc repro")
    return paths
