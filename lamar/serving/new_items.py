"""Items that a model was not trained on, for a model that reads text: their vectors beside those it has.

In its second stage Recformer goes on learning while the vectors of its items stay those of the first (Recformer,
Algorithm 1). A new item must be encoded as they were: by the final weights it would lie where the histories are, and
everybody would be recommended it (on ml-100k, a tenth of the catalogue encoded so takes all places of every top 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lamar.console import say
from lamar.errors import LamarError
from lamar.params import RecformerRun
from lamar.recformer.model import Recformer
from lamar.recformer.weights import from_encoder
from lamar.serving.models import load, recformer_over
from lamar.serving.tables import texts_of
from lamar.serving.trained import Trained
from lamar.training import fit

PROBES = 64  # known items that show which weights encoded them
SAME = 0.99  # cosine; bfloat16 in batches of other lengths stays above 0.999, other weights are below 0.9


def with_new_items(trained: Trained, new: pl.DataFrame, attributes: list[str]) -> Trained:
    """`trained`, its catalogue followed by `new` items: item_id, `attributes`, and what else the model reads of them.

    Raises LamarError when the model knows items by their ids alone, when an id is known already, when the model would
    read nothing of an item, or when the weights that encoded its items are not there any more.
    """
    if not isinstance(trained.run, RecformerRun):
        raise LamarError(
            f"{trained.name}: a {trained.run.model} knows items by their ids alone and cannot take new ones; "
            "use a run that reads text (model: recformer)"
        )
    known = new.filter(pl.col("item_id").is_in(trained.items["item_id"].implode()))["item_id"]
    if len(known):
        raise LamarError(f"new item {known[0]!r} is in the catalogue already; take it out of the file")
    texts = _texts(trained, new, attributes)
    vectors = _encoded(_item_encoder(trained), texts, trained)
    return replace(
        trained,
        weights=trained.weights | {"items": torch.cat([trained.weights["items"], vectors])},
        items=pl.concat([trained.items, new.select("item_id", title=attributes[0])]),
        texts=pl.concat([trained.texts, texts]),
    )


def _texts(trained: Trained, new: pl.DataFrame, attributes: list[str]) -> pl.DataFrame:
    """What the model reads of new items, numbered on from those it knows."""
    columns = trained.texts.columns[1:]
    if "signal" in new.columns and set(columns) <= set(attributes):
        say(f"{trained.name} reads no signals: the column 'signal' is left out")
    texts = texts_of(new, columns, attributes)
    blank = new.filter(texts.select(pl.all_horizontal(pl.all() == "")).to_series())["item_id"]
    if len(blank):
        raise LamarError(f"new item {blank[0]!r} has no text in {', '.join(columns)}; fill one of them")
    numbers = pl.Series("item", np.arange(len(new)) + len(trained.texts)).cast(trained.texts.schema["item"])
    return texts.select(numbers, pl.all())


def _item_encoder(trained: Trained) -> Recformer:
    """The weights that encoded the known items: the final ones or, after one epoch of stage one, the backbone's."""
    rows = np.linspace(0, len(trained.texts) - 1, min(PROBES, len(trained.texts))).astype(np.int64)
    for encoder in _encoders(trained):
        vectors = _encoded(encoder, trained.texts[rows], trained)
        if (vectors * trained.weights["items"][torch.from_numpy(rows)]).sum(-1).min() > SAME:
            return encoder
    raise LamarError(
        f"{trained.name}: the weights of its first stage, which encoded its items, are not kept: no new item can be "
        f"encoded like them; train it with epochs: 1 (runs.{trained.name} in params.yaml)"
    )


def _encoders(trained: Trained) -> Iterator[Recformer]:
    final = load(trained).model
    yield final
    yield from_encoder(trained.encoder, final.shape).to(fit.device())


def _encoded(encoder: Recformer, texts: pl.DataFrame, trained: Trained) -> Tensor:
    """Unit vectors (items, hidden) of items read alone."""
    model = recformer_over(texts, encoder, trained)
    with torch.inference_mode(), fit.precision(trained.run):
        model.renew()
    return model.items.cpu().clone()
