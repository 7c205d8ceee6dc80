"""What an LLM that ranks pools is trained on, and its training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from lamar.llm import local
from lamar.params import LocalGenerator, LoraRun
from lamar.rankers import pools
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Pools
from lamar.rankers.prompts import Catalogue
from lamar.training import fit
from lamar.training.examples import Split
from lamar.training.watch import Watch


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


def read_cases(dataset: str, run: str, llm: LocalGenerator) -> Cases:
    """What the sequences and pools stages wrote for a run, and the weights of `llm`, fetched when they are not here.

    Raises LamarError when the pools are not there or the weights cannot be had.
    """
    items = pl.read_parquet(Path("data/sequences", dataset, run, "items.parquet"))
    return Cases(pools.read(f"data/pools/{dataset}/{run}.parquet"), items, local.weights_folder(llm))


def train_lora(run: LoraRun, cases: Cases, seed: int, watch: Watch) -> LoraRanker:
    """Fine-tune an LLM's adapter to pick the next item from a pool."""
    torch.manual_seed(seed)
    catalogue = Catalogue(cases.items, run.attribute_words)
    model = LoraRanker(cases.weights, run, catalogue, cases.pools.train).to(fit.device())
    watch.fit(model, cases.pools.validation, run, run.epochs, seed, stage=1)
    return model
