"""Models as they were trained, read from their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from lamar import models
from lamar.baselines.popularity import Popularity
from lamar.baselines.sasrec import LOSSES, Sasrec
from lamar.errors import LamarError
from lamar.recformer.model import Recformer
from lamar.recformer.recommender import RecformerRecommender
from lamar.recformer.start import CLS, token, tokenizer_of
from lamar.recformer.weights import shape_of
from lamar.serving.trained import Trained
from lamar.text.tokens import tokenise
from lamar.training import fit


def load_popularity(trained: Trained) -> Popularity:
    """The counts of the training sequences."""
    model = Popularity([np.empty(0, np.int64)], len(trained.items))
    model.counts = trained.weights["counts"].numpy()
    return model


def load_sasrec(trained: Trained) -> Sasrec:
    """SASRec, without what it was trained on; S3-Rec is one once it is fine-tuned."""
    model = LOSSES[trained.run.loss]([], len(trained.items), models.shape_of(trained.run))
    model.load_state_dict(trained.weights)
    return model.to(fit.device())


def load_recformer(trained: Trained) -> RecformerRecommender:
    """Recformer, without what it was trained on."""
    run = trained.run
    shape = shape_of(trained.encoder, run.layers, run.max_items, run.window, run.dropout, run.pooling)
    model = recformer_over(trained.texts, Recformer(shape), trained)
    model.load_state_dict(trained.weights)
    return model


def recformer_over(texts: pl.DataFrame, model: Recformer, trained: Trained) -> RecformerRecommender:
    """`model` over a catalogue of `texts`, whose items are not encoded yet."""
    run = trained.run
    tokenizer = tokenizer_of(trained.encoder)
    cls = token(tokenizer, CLS, run.backbone)
    catalogue = tokenise(texts, tokenizer, run.attribute_tokens)
    sizes = {name: getattr(run, name) for name in ("max_tokens", "batch", "positions_per_user")}
    return RecformerRecommender(model, catalogue, [], cls=cls, **sizes).to(fit.device())


@dataclass(frozen=True)
class Loader:
    """How a model is read, and what it can do.

    known: how many items its weights are about. no_history: whether it has learned what to recommend to somebody with
    no history.
    """

    load: Callable[[Trained], Any]
    known: Callable[[dict[str, Tensor]], int]
    no_history: bool


SASREC = Loader(load_sasrec, lambda weights: len(weights["item.weight"]) - 1, no_history=False)
LOADERS = {
    "popularity": Loader(load_popularity, lambda weights: len(weights["counts"]), no_history=True),
    "sasrec": SASREC,
    "s3rec": SASREC,
    "recformer": Loader(load_recformer, lambda weights: len(weights["items"]), no_history=True),
}


def load(trained: Trained) -> Any:
    """The model of a trained run, on the GPU when there is one.

    Raises LamarError when its weights do not fit its settings and items.
    """
    loader = LOADERS[trained.run.model]
    try:
        known = loader.known(trained.weights)
        if known == len(trained.items) == len(trained.texts):
            return loader.load(trained)
    except (RuntimeError, KeyError):
        raise LamarError(f"{trained.name}: its settings have changed since it was trained; train it again") from None
    raise LamarError(
        f"{trained.name}: was trained on {known:,} items, the dataset has {len(trained.items):,} by now; train it again"
    )
