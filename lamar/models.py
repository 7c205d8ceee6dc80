"""Every model that ranks the whole catalogue by the name that a run gives it: built from settings and sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from lamar.baselines.popularity import Popularity
from lamar.baselines.sasrec import Sasrec
from lamar.errors import LamarError
from lamar.params import PopularityRun, RecformerRun, SasrecRun
from lamar.recformer.recommender import RecformerRecommender
from lamar.recformer.weights import from_encoder, shape_of
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
    model = Sasrec(
        sequences.users.train,
        sequences.items.height,
        hidden=run.hidden,
        layers=run.layers,
        heads=run.heads,
        dropout=run.dropout,
        max_items=run.max_items,
        batch=run.batch,
    ).to(fit.device())
    watch.fit(model, sequences.users.validation, run, run.epochs, seed, stage=1)
    return model


def train_recformer(run: RecformerRun, sequences: Sequences, seed: int, watch: Watch) -> RecformerRecommender:
    """Fine-tune Recformer in its two stages, starting from the backbone's weights."""
    torch.manual_seed(seed)
    model = _recformer(Path("models/backbones") / run.backbone, run, sequences).to(fit.device())
    for stage, epochs in ((1, run.epochs), (2, run.second_epochs)):
        model.items_are_constant = stage == 2
        watch.fit(model, sequences.users.validation, run, epochs, [seed, stage], stage)
    return model


def _recformer(backbone: Path, run: RecformerRun, sequences: Sequences) -> RecformerRecommender:
    """A Recformer that has learned nothing but its backbone's text, over the catalogue of `sequences`."""
    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    shape = shape_of(backbone, run.layers, run.max_items, run.window, run.dropout, run.pooling)
    model = from_encoder(backbone, shape)
    model.freeze(run.frozen_layers)
    return RecformerRecommender(
        model,
        tokenise(sequences.items, tokenizer, run.attribute_tokens),
        sequences.users.train,
        cls=_cls(tokenizer, backbone),
        max_tokens=run.max_tokens,
        batch=run.batch,
        positions_per_user=run.positions_per_user,
    )


def _cls(tokenizer: Tokenizer, backbone: Path) -> int:
    """The id of the token that begins a text: [CLS] in BERT, <s> in RoBERTa."""
    found = (tokenizer.token_to_id(token) for token in ("[CLS]", "<s>"))
    cls = next((token for token in found if token is not None), None)
    if cls is None:
        raise LamarError(f"{backbone}/tokenizer.json: has neither [CLS] nor <s>; use a BERT or RoBERTa tokenizer")
    return cls


TRAINERS: dict[str, Callable[..., Any]] = {
    "popularity": train_popularity,
    "sasrec": train_sasrec,
    "recformer": train_recformer,
}
