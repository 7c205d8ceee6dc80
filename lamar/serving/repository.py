"""Where the pipeline leaves what a trained run consists of."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from safetensors.torch import load_file

from lamar import params
from lamar.errors import LamarError
from lamar.params import Params, RecformerRun
from lamar.recformer.start import folder_of
from lamar.serving.models import LOADERS
from lamar.serving.new_items import with_new_items
from lamar.serving.tables import read_new_items
from lamar.serving.trained import ENCODER_FILES, Trained


def trained_run(
    chosen: Params, dataset: str, run: str, seed: int | None = None, new_items: Path | None = None
) -> Trained:
    """What the pipeline in the current folder trained as `run`, and `new_items` (a file) after the items it knows.

    seed: one of the run's; without it the first. Raises LamarError when there is no such run or seed, or when it is not
    trained, and then says by which command it is.
    """
    source = params.entry(chosen.datasets, "dataset", dataset)
    settings = params.entry(chosen.runs, "run", run)
    if settings.model not in LOADERS:
        raise LamarError(f"{run}: {settings.model} is not served; {', '.join(LOADERS)} are")
    seed = settings.seeds[0] if seed is None else seed
    if seed not in settings.seeds:
        raise LamarError(f"{run} has no seed {seed}; it has {', '.join(map(str, settings.seeds))}")
    weights = Path("models", dataset, run, f"seed-{seed}.safetensors")
    texts = Path("data/sequences", dataset, run, "items.parquet")
    prepared = Path("data/prepared", dataset, "items.parquet")
    encoder = folder_of(settings.backbone) if isinstance(settings, RecformerRun) else None
    for file in (weights, texts, prepared, *(encoder / name for name in ENCODER_FILES if encoder)):
        if not file.exists():
            raise LamarError(f"{file}: no such file; train this run with: {training_command(chosen, dataset, run)}")
    items = pl.read_parquet(prepared).select("item_id", title=source.attributes[0])
    trained = Trained(run, settings, load_file(weights), items, pl.read_parquet(texts), encoder)
    if new_items is None:
        return trained
    id_column = source.columns.item if source.reader == "table" else "item_id"
    return with_new_items(trained, read_new_items(new_items, id_column, source.attributes), source.attributes)


def training_command(chosen: Params, dataset: str, run: str) -> str:
    """What makes a run's model: runs and datasets outside of the matrix are put into it for once."""
    if dataset in chosen.matrix.datasets and run in chosen.matrix.runs:
        return f"dvc repro train@{dataset}-{run}"
    return f"dvc exp run -S 'matrix.datasets=[{dataset}]' -S 'matrix.runs=[{run}]' train@{dataset}-{run}"
