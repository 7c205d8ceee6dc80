"""Zero-shot: a model of items' texts that was trained on one dataset ranks another, of which it has seen nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from lamar.baselines.sequence import SequenceModel, lengths
from lamar.engine import Engine, here
from lamar.errors import LamarError
from lamar.models import unisrec_of, zesrec_of
from lamar.params import AnyRun
from lamar.training.batches import by_length
from lamar.training.examples import Sequences, Split
from lamar.training.run import ranks_table

TEXT_MODELS: dict[str, Callable[..., SequenceModel]] = {
    "unisrec": unisrec_of,
    "unisrec-pretrained": unisrec_of,
    "zesrec": zesrec_of,
}
BATCHES = 64  # of the run's size, ranked together: a model renews the vectors of all items for each such block
OF_ITEMS = {"offset", "own"}  # weights of the source's items, which this dataset does not have


@dataclass(frozen=True)
class Block:
    """Some users, to be ranked as `lamar.training.run.Examples` are."""

    test: Split
    ids: np.ndarray
    targets: np.ndarray


def transfer(run: AnyRun, sequences: Sequences, trained: Path, engine: Engine = here) -> pl.DataFrame:
    """The ranks table of all seeds of `run` on `sequences`, with the weights that `train` left in the folder `trained`.

    engine: where blocks of users are ranked. Raises LamarError when the model knows items by their ids, or the weights
    are not there.
    """
    if run.model not in TEXT_MODELS:
        known = ", ".join(TEXT_MODELS)
        raise LamarError(f"params.yaml: matrix.transfers: {run.model} knows its own items alone; name runs of {known}")
    cut = partial(_blocks, sequences, 4 * run.batch * BATCHES)  # models score 4 batches at once: blocks split none
    ranked = [engine(cut, partial(_ranker, run, sequences, trained, seed), gpu=True) for seed in run.seeds]
    return pl.concat([table for results in ranked for _, table in results]).sort("seed", "user")


def _blocks(sequences: Sequences, users: int) -> Iterator[Block]:
    """Users in the order in which models score them."""
    test = sequences.test
    for rows in by_length(lengths(test.histories), users):
        some = Split([test.histories[row] for row in rows], test.targets[rows])
        yield Block(some, sequences.ids[rows], sequences.targets[rows])


def _ranker(run: AnyRun, sequences: Sequences, trained: Path, seed: int) -> Callable[[Block], pl.DataFrame]:
    model = _model(run, sequences, trained, seed)
    return lambda users: ranks_table(model, users, run, seed)


def _model(run: AnyRun, sequences: Sequences, trained: Path, seed: int) -> SequenceModel:
    from safetensors.torch import load_file

    path = trained / f"seed-{seed}.safetensors"
    if not path.exists():
        raise LamarError(f"{path}: no such file; train this run on the source first (dvc repro train)")
    model = TEXT_MODELS[run.model](run, sequences)
    shared = {name: weight for name, weight in load_file(path).items() if name not in OF_ITEMS}
    model.load_state_dict(model.state_dict() | shared)
    return model
