"""Models as they were trained, read from their weights; those that read text know new items, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import Tensor

from lamar.baselines.popularity import Popularity
from lamar.baselines.sasrec import Sasrec
from lamar.errors import LamarError
from lamar.models import read_tokenizer
from lamar.params import RecformerRun
from lamar.recformer.model import Recformer
from lamar.recformer.recommender import RecformerRecommender
from lamar.recformer.weights import shape_of
from lamar.serving.trained import Trained
from lamar.text.tokens import tokenise
from lamar.training import fit

Weights = dict[str, Tensor]


def load_popularity(trained: Trained, weights: Weights) -> Popularity:
    """The counts of the training sequences."""
    model = Popularity([np.empty(0, np.int64)], len(trained.items))
    model.counts = weights["counts"].numpy()
    return model


def load_sasrec(trained: Trained, weights: Weights) -> Sasrec:
    """SASRec, without what it was trained on."""
    run = trained.run
    sizes = {name: getattr(run, name) for name in ("hidden", "layers", "heads", "dropout", "max_items", "batch")}
    model = Sasrec([], len(trained.items), **sizes)
    model.load_state_dict(weights)
    return model.to(fit.device())


def load_recformer(trained: Trained, weights: Weights) -> RecformerRecommender:
    """Recformer, without what it was trained on; the vectors of new items are encoded by its final weights."""
    known = len(weights["items"])
    model = _recformer(trained, trained.texts)
    new = trained.texts[known:]
    blank = weights["items"].new_zeros(len(new), weights["items"].shape[1])
    model.load_state_dict(weights | {"items": torch.cat([weights["items"], blank])})
    if len(new):
        alone = _recformer(trained, new)
        alone.model.load_state_dict(model.model.state_dict())
        with torch.inference_mode(), fit.precision(trained.run):
            alone.renew()
        model.items[known:] = alone.items
    return model


def _recformer(trained: Trained, texts: pl.DataFrame) -> RecformerRecommender:
    """One that has learned nothing, over a catalogue of `texts`."""
    run: RecformerRun = trained.run
    tokenizer, cls = read_tokenizer(trained.encoder)
    shape = shape_of(trained.encoder, run.layers, run.max_items, run.window, run.dropout, run.pooling)
    catalogue = tokenise(texts, tokenizer, run.attribute_tokens)
    model = RecformerRecommender(
        Recformer(shape), catalogue, [], cls=cls, max_tokens=run.max_tokens, batch=run.batch,
        positions_per_user=run.positions_per_user,
    )  # fmt: skip
    return model.to(fit.device())


@dataclass(frozen=True)
class Loader:
    """How a model is read, and what it can do.

    known: how many items its weights are about. new_items: whether it knows an item by its text, so that one without
    training can be added. no_history: whether it has learned what to recommend to somebody with no history.
    """

    load: Callable[[Trained, Weights], Any]
    known: Callable[[Weights], int]
    new_items: bool
    no_history: bool


LOADERS = {
    "popularity": Loader(load_popularity, lambda weights: len(weights["counts"]), new_items=False, no_history=True),
    "sasrec": Loader(load_sasrec, lambda weights: len(weights["item.weight"]) - 1, new_items=False, no_history=False),
    "recformer": Loader(load_recformer, lambda weights: len(weights["items"]), new_items=True, no_history=True),
}


def load(trained: Trained) -> Any:
    """The model of a trained run, on the GPU when there is one.

    Raises LamarError when the weights are of other items or another shape, or when an id model is given new items.
    """
    loader = LOADERS[trained.run.model]
    try:
        weights = load_file(trained.weights)
        if len(trained.items) > loader.known(weights) and not loader.new_items:
            raise LamarError(
                f"{trained.name}: {trained.run.model} knows items by their ids and none that it was not trained on; "
                "for new items take a run that reads text, as recformer"
            )
        return loader.load(trained, weights)
    except (RuntimeError, KeyError):
        raise LamarError(
            f"{trained.weights}: does not fit the settings of {trained.name}, which have changed since; train it again"
        ) from None
