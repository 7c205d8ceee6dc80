"""Fine-tuning an LLM to rank pools."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import torch

from lamar.params import LoraRun
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Pools
from lamar.rankers.prompts import Catalogue
from lamar.training import fit
from lamar.training.watch import Watch


def train_lora(items: pl.DataFrame, weights: Path, run: LoraRun, pools: Pools, seed: int, watch: Watch) -> LoraRanker:
    """Fine-tune the adapter of the LLM in the folder `weights` to pick the next item from a pool.

    items: the item texts that the sequences stage wrote.
    """
    torch.manual_seed(seed)
    catalogue = Catalogue(items, run.attribute_words)
    model = LoraRanker(weights, run, catalogue, pools.train).to(fit.device())
    watch.fit(model, pools.validation, run, run.epochs, seed, stage=1)
    return model
