"""Where the pipeline leaves what a trained run consists of."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lamar import params
from lamar.console import say
from lamar.errors import LamarError
from lamar.params import Params, RecformerRun
from lamar.serving.models import LOADERS
from lamar.serving.tables import read_new_items, texts_of
from lamar.serving.trained import ENCODER_FILES, Trained


def trained_run(
    chosen: Params, dataset: str, run: str, seed: int | None = None, new_items: Path | None = None
) -> Trained:
    """What the pipeline in the current folder trained as `run`, and `new_items` (a file) after the items it knows.

    seed: one of the run's; without it the first. Raises LamarError when there is no such run or seed, when it is not
    trained (and says by which command it is), or when its items are not those of the dataset any more.
    """
    source = params.entry(chosen.datasets, "dataset", dataset)
    settings = params.entry(chosen.runs, "run", run)
    if settings.model not in LOADERS:
        raise LamarError(
            f"{run}: a {settings.model} does not rank the whole catalogue; take one of {', '.join(LOADERS)}"
        )
    seed = settings.seeds[0] if seed is None else seed
    if seed not in settings.seeds:
        raise LamarError(f"{run} has no seed {seed}; it has {', '.join(map(str, settings.seeds))}")
    weights = Path("models", dataset, run, f"seed-{seed}.safetensors")
    texts = Path("data/sequences", dataset, run, "items.parquet")
    prepared = Path("data/prepared", dataset, "items.parquet")
    encoder = Path("models/backbones", settings.backbone) if isinstance(settings, RecformerRun) else None
    needed = [weights, texts, prepared, *(encoder / file for file in ENCODER_FILES if encoder)]
    for file in needed:
        if not file.exists():
            raise LamarError(f"{file}: no such file; train this run with: {training_command(chosen, dataset, run)}")
    items = pl.read_parquet(prepared).select("item_id", title=source.attributes[0])
    trained = Trained(run, settings, weights, items, pl.read_parquet(texts), encoder)
    if new_items is None:
        return trained
    id_column = source.columns.item if source.reader == "table" else "item_id"
    return with_new_items(trained, read_new_items(new_items, id_column, source.attributes), source.attributes)


def with_new_items(trained: Trained, new: pl.DataFrame, attributes: list[str]) -> Trained:
    """`trained`, its catalogue followed by `new` items (item_id, attributes, and what else the model reads of them).

    Raises LamarError when an id is known already or the model would read nothing of an item.
    """
    known = new.filter(pl.col("item_id").is_in(trained.items["item_id"].implode()))["item_id"]
    if len(known):
        raise LamarError(f"new item {known[0]!r} is in the catalogue already; take it out of the file")
    columns = trained.texts.columns[1:]
    if "signal" in new.columns and set(columns) <= set(attributes):
        say(f"{trained.name} reads no signals: the column 'signal' is left out")
    texts = texts_of(new, columns, attributes)
    blank = new.filter(texts.select(pl.all_horizontal(pl.all() == "")).to_series())["item_id"]
    if len(blank):
        raise LamarError(f"new item {blank[0]!r} has no text in {', '.join(columns)}; fill one of them")
    numbers = pl.int_range(
        len(trained.texts), len(trained.texts) + len(new), dtype=trained.texts["item"].dtype, eager=True
    )
    return Trained(
        trained.name,
        trained.run,
        trained.weights,
        pl.concat([trained.items, new.select("item_id", title=attributes[0])]),
        pl.concat([trained.texts, texts.select(numbers.alias("item"), pl.all())]),
        trained.encoder,
    )


def training_command(chosen: Params, dataset: str, run: str) -> str:
    """What makes a run's model: runs and datasets outside of the matrix are put into it for once."""
    if dataset in chosen.matrix.datasets and run in chosen.matrix.runs:
        return f"dvc repro train@{dataset}-{run}"
    return f"dvc exp run -S 'matrix.datasets=[{dataset}]' -S 'matrix.runs=[{run}]' train@{dataset}-{run}"
