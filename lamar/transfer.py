"""Zero-shot: a model of items' texts that was trained on one dataset ranks another, of which it has seen nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from lamar.baselines.sequence import SequenceModel
from lamar.errors import LamarError
from lamar.models import unisrec_of, zesrec_of
from lamar.params import AnyRun
from lamar.training.examples import Sequences
from lamar.training.run import ranks_table

TEXT_MODELS: dict[str, Callable[..., SequenceModel]] = {
    "unisrec": unisrec_of,
    "unisrec-pretrained": unisrec_of,
    "zesrec": zesrec_of,
}
OF_ITEMS = {"offset", "own"}  # weights of the source's items, which this dataset does not have


def transfer(run: AnyRun, sequences: Sequences, trained: Path) -> pl.DataFrame:
    """The ranks table of all seeds of `run` on `sequences`, with the weights that `train` left in the folder `trained`.

    Raises LamarError when the model knows items by their ids, or the weights are not there.
    """
    if run.model not in TEXT_MODELS:
        known = ", ".join(TEXT_MODELS)
        raise LamarError(f"params.yaml: matrix.transfers: {run.model} knows its own items alone; name runs of {known}")
    return pl.concat([ranks_table(_model(run, sequences, trained, seed), sequences, run, seed) for seed in run.seeds])


def _model(run: AnyRun, sequences: Sequences, trained: Path, seed: int) -> SequenceModel:
    from safetensors.torch import load_file

    path = trained / f"seed-{seed}.safetensors"
    if not path.exists():
        raise LamarError(f"{path}: no such file; train this run on the source first (dvc repro train)")
    model = TEXT_MODELS[run.model](run, sequences)
    shared = {name: weight for name, weight in load_file(path).items() if name not in OF_ITEMS}
    model.load_state_dict(model.state_dict() | shared)
    return model
