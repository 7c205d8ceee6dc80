"""Every model that ranks the whole catalogue by the name that a run gives it: built from settings and sequences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lamar.baselines.attributes import attribute_sets
from lamar.baselines.bert4rec import Bert4rec
from lamar.baselines.contrastive import Contrastive
from lamar.baselines.popularity import Popularity
from lamar.baselines.s3rec import S3rec
from lamar.baselines.sasrec import LOSSES, Sasrec
from lamar.baselines.sequence import Shape
from lamar.baselines.unisrec import FINE_TUNING, Unisrec
from lamar.baselines.zesrec import Zesrec
from lamar.errors import LamarError
from lamar.params import (
    Bert4recRun,
    PopularityRun,
    PretrainedUnisrecRun,
    RecformerRun,
    S3recRun,
    SasrecRun,
    TransformerRun,
    UnisrecRun,
    ZesrecRun,
)
from lamar.recformer.recommender import RecformerRecommender
from lamar.recformer.start import CLS, started, token
from lamar.text.tokens import tokenise
from lamar.training import fit
from lamar.training.examples import Sequences
from lamar.training.watch import Watch


def train_popularity(run: PopularityRun, sequences: Sequences, seed: int, watch: Watch) -> Popularity:
    """Count; nothing is random."""
    return Popularity(sequences.users.train, sequences.items.height)


def train_sasrec(run: SasrecRun, sequences: Sequences, seed: int, watch: Watch) -> Sasrec:
    """Train SASRec to early stopping."""
    torch.manual_seed(seed)
    model = LOSSES[run.loss](sequences.users.train, sequences.items.height, shape_of(run)).to(fit.device())
    watch.fit(model, sequences.users.validation, run, run.epochs, seed, stage=1)
    return model


def train_bert4rec(run: Bert4recRun, sequences: Sequences, seed: int, watch: Watch) -> Bert4rec:
    """Train BERT4Rec to early stopping."""
    torch.manual_seed(seed)
    shares = {"mask_share": run.mask_share, "last_share": run.last_share}
    model = Bert4rec(sequences.users.train, sequences.items.height, shape_of(run), **shares).to(fit.device())
    watch.fit(model, sequences.users.validation, run, run.epochs, seed, stage=1)
    return model


def train_s3rec(run: S3recRun, sequences: Sequences, seed: int, watch: Watch) -> Sasrec:
    """Pre-train S3-Rec, fine-tune its best epoch as SASRec; both to early stopping on the same users."""
    torch.manual_seed(seed)
    first = run.pretraining
    attributes = attribute_sets(sequences.items, first.attributes).to_numpy()
    tasks = {"mask_share": first.mask_share, "weights": first.weights}
    shape = replace(shape_of(run), batch=first.batch)
    pretrained = S3rec(sequences.users.train, attributes, shape, **tasks).to(fit.device())
    watch.fit(pretrained, sequences.users.validation, run, first.epochs, [seed, 1], stage=1)
    model = LOSSES[run.loss](sequences.users.train, sequences.items.height, shape_of(run)).to(fit.device())
    learned = pretrained.state_dict()
    model.load_state_dict({name: learned[name] for name in model.state_dict()})  # not what the objectives alone need
    watch.fit(model, sequences.users.validation, run, run.epochs, [seed, 2], stage=2)
    return model


def train_unisrec(run: UnisrecRun, sequences: Sequences, seed: int, watch: Watch) -> Unisrec:
    """Train UniSRec to early stopping."""
    torch.manual_seed(seed)
    model = _fine_tuned(run, sequences)
    watch.fit(model, sequences.users.validation, run, run.epochs, seed, stage=1)
    return model


def train_pretrained_unisrec(run: PretrainedUnisrecRun, sequences: Sequences, seed: int, watch: Watch) -> Unisrec:
    """Pre-train UniSRec, fine-tune its best epoch; both to early stopping on the same users."""
    torch.manual_seed(seed)
    first = run.pretraining
    pretrained = unisrec_of(run, sequences)
    sizes = {"batch": first.batch, "positions_per_user": first.positions_per_user}
    tasks = Contrastive(pretrained, sequences.users.train, vectors_of(sequences, "dropped"), **sizes).to(fit.device())
    watch.fit(tasks, sequences.users.validation, run, first.epochs, [seed, 1], stage=1)
    model = _fine_tuned(run, sequences)
    model.load_state_dict(model.state_dict() | pretrained.state_dict())  # items' own vectors are not pre-trained
    if first.frozen_encoder:
        model.freeze_encoder()
    watch.fit(model, sequences.users.validation, run, run.epochs, [seed, 2], stage=2)
    return model


def _fine_tuned(run: UnisrecRun | PretrainedUnisrecRun, sequences: Sequences) -> Unisrec:
    """A UniSRec that has learned nothing, of the kind that the run fine-tunes."""
    kind = FINE_TUNING[run.fine_tuning]
    return kind(sequences.users.train, vectors_of(sequences, "text"), shape_of(run)).to(fit.device())


def train_zesrec(run: ZesrecRun, sequences: Sequences, seed: int, watch: Watch) -> Zesrec:
    """Train ZESRec to early stopping on the dataset it ranks."""
    torch.manual_seed(seed)
    model = zesrec_of(run, sequences)
    watch.fit(model, sequences.users.validation, run, run.epochs, seed, stage=1)
    return model


def vectors_of(sequences: Sequences, kind: str) -> np.ndarray:
    """The items' vectors of one kind, float32 (items, width). Raises LamarError when `encode` has not written them."""
    if kind not in sequences.vectors:
        raise LamarError(f"no vectors ({kind}) of the items: python stages/encode.py with the same dataset and run")
    return sequences.vectors[kind]


def unisrec_of(run: UnisrecRun | PretrainedUnisrecRun, sequences: Sequences) -> Unisrec:
    """A UniSRec that has learned nothing, whose items are their texts alone."""
    return Unisrec(sequences.users.train, vectors_of(sequences, "text"), shape_of(run)).to(fit.device())


def zesrec_of(run: ZesrecRun, sequences: Sequences) -> Zesrec:
    """A ZESRec that has learned nothing; its items have no offsets."""
    texts = vectors_of(sequences, "text")
    return Zesrec(sequences.users.train, texts, shape_of(run), offset_std=run.offset_std).to(fit.device())


def shape_of(run: TransformerRun) -> Shape:
    """The Transformer that a run's settings describe."""
    return Shape(run.hidden, run.layers, run.heads, run.dropout, run.max_items, run.batch)


def train_recformer(run: RecformerRun, sequences: Sequences, seed: int, watch: Watch) -> RecformerRecommender:
    """Fine-tune Recformer in its two stages, starting from the backbone's weights."""
    torch.manual_seed(seed)
    model = _recformer(run, sequences).to(fit.device())
    if run.places_per_user:
        watch.note("reading what the frozen layers make of the histories")
        started = time.perf_counter()
        with torch.no_grad(), fit.precision(run):
            model.keep_to(run.places_per_user, sequences.users.validation.histories, np.random.default_rng([seed, 0]))
        watch.spent(time.perf_counter() - started)
    for stage, epochs in ((1, run.epochs), (2, run.second_epochs)):
        model.items_are_constant = stage == 2
        watch.fit(model, sequences.users.validation, run, epochs, [seed, stage], stage)
    return model


def _recformer(run: RecformerRun, sequences: Sequences) -> RecformerRecommender:
    """A Recformer that has learned nothing but its backbone's text, over the catalogue of `sequences`."""
    model, tokenizer = started(run)
    return RecformerRecommender(
        model,
        tokenise(sequences.items, tokenizer, run.attribute_tokens),
        sequences.users.train,
        cls=token(tokenizer, CLS, run.backbone),
        max_tokens=run.max_tokens,
        batch=run.batch,
        positions_per_user=run.positions_per_user,
        next_items=run.next_items,
        negatives=run.negatives,
    )


TRAINERS: dict[str, Callable[..., Any]] = {
    "popularity": train_popularity,
    "sasrec": train_sasrec,
    "bert4rec": train_bert4rec,
    "s3rec": train_s3rec,
    "unisrec": train_unisrec,
    "unisrec-pretrained": train_pretrained_unisrec,
    "zesrec": train_zesrec,
    "recformer": train_recformer,
}
TOGETHER = {"recformer"}  # models that several processes can train; the others take minutes in one
