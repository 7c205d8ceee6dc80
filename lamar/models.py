"""Every model by the name that a run gives it: built from a run's settings and the sequences of its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer

from lamar.baselines.popularity import Popularity
from lamar.baselines.sasrec import Sasrec
from lamar.errors import LamarError
from lamar.llm import local
from lamar.params import LoraRun, Params, PopularityRun, RecformerRun, SasrecRun, Training
from lamar.rankers import pools
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Pools
from lamar.rankers.prompts import Catalogue
from lamar.recformer.recommender import RecformerRecommender
from lamar.recformer.weights import from_encoder, shape_of
from lamar.text.tokens import tokenise
from lamar.training import fit
from lamar.training.checkpoint import Checkpoint
from lamar.training.course import Epoch
from lamar.training.examples import Split, Users, read_users


@dataclass(frozen=True)
class Watch:
    """Who looks on while a seed is trained; stages are numbered 1, 2.

    seen: told every epoch as it ends; checkpoint: where a stage's progress is kept, if anywhere.
    """

    seen: Callable[[int, Epoch], None]
    checkpoint: Callable[[int], Checkpoint | None]

    def fit(self, model: Any, validation: Split, run: Training, epochs: int, seed: int | list[int], stage: int) -> None:
        """Train one stage."""
        fit.fit(model, validation, run, epochs, seed, partial(self.seen, stage), self.checkpoint(stage))


@dataclass(frozen=True)
class Sequences:
    """What the sequences stage wrote for one dataset and choice of features."""

    users: Users
    items: pl.DataFrame

    @property
    def test(self) -> Split:
        """What is ranked in the end, among all items."""
        return self.users.test

    @property
    def ids(self) -> np.ndarray:
        """The users of `test`, (users,)."""
        return self.users.ids

    @property
    def targets(self) -> np.ndarray:
        """Their next items, (users,)."""
        return self.users.test.targets


@dataclass(frozen=True)
class Cases:
    """What a ranker of pools reads: the pools, and the text of every item."""

    pools: Pools
    items: pl.DataFrame
    weights: Path

    @property
    def test(self) -> Split:
        """The pools that are ranked in the end."""
        return self.pools.test

    @property
    def ids(self) -> np.ndarray:
        """Their users, (pools,)."""
        return self.pools.ids

    @property
    def targets(self) -> np.ndarray:
        """Their next items, (pools,)."""
        return self.pools.items


def read_sequences(chosen: Params, dataset: str, run: str) -> Sequences:
    """What the sequences stage wrote for a run."""
    folder = Path("data/sequences", dataset, run)
    return Sequences(read_users(str(folder / "histories.parquet")), pl.read_parquet(folder / "items.parquet"))


def read_cases(chosen: Params, dataset: str, run: str) -> Cases:
    """What the sequences and pools stages wrote for a run, and the weights of its LLM, fetched when they are not here.

    Raises LamarError when the pools are not there or the weights cannot be had.
    """
    items = pl.read_parquet(Path("data/sequences", dataset, run, "items.parquet"))
    llm = chosen.generators[chosen.runs[run].llm]
    return Cases(pools.read(f"data/pools/{dataset}/{run}.parquet"), items, local.weights_folder(llm))


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


def train_lora(run: LoraRun, cases: Cases, seed: int, watch: Watch) -> LoraRanker:
    """Fine-tune an LLM's adapter to pick the next item from a pool."""
    torch.manual_seed(seed)
    catalogue = Catalogue(cases.items, run.attribute_words)
    model = LoraRanker(cases.weights, run, catalogue, cases.pools.train).to(fit.device())
    watch.fit(model, cases.pools.validation, run, run.epochs, seed, stage=1)
    return model


@dataclass(frozen=True)
class Model:
    """How a model's examples are read (params.yaml, dataset, run) and how it is trained on them (run's settings,
    examples, seed, `Seen`).
    """

    read: Callable[[Params, str, str], Any]
    train: Callable[..., Any]


MODELS = {
    "popularity": Model(read_sequences, train_popularity),
    "sasrec": Model(read_sequences, train_sasrec),
    "recformer": Model(read_sequences, train_recformer),
    "lora": Model(read_cases, train_lora),
}
