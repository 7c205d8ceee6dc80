"""Every model that ranks pools by the name that a run gives it: how it learns, and how it is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from lamar import launch
from lamar.errors import LamarError
from lamar.llm.local import weights_folder
from lamar.params import LoraRun, Params, PoolPopularityRun
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Lessons
from lamar.rankers.popularity import PoolPopularity
from lamar.rankers.prompts import Catalogue
from lamar.training import fit
from lamar.training.examples import Sequences
from lamar.training.watch import Watch


@dataclass(frozen=True)
class Kind:
    """learn: from (params, sequences, run, lessons, seed, watch) to a ranker; load: one that was saved in a folder."""

    learn: Callable[..., Any]
    load: Callable[[Params, Sequences, Any, Path], Any]


def count(
    chosen: Params, sequences: Sequences, run: PoolPopularityRun, lessons: Lessons, seed: int, watch: Watch
) -> PoolPopularity:
    """Count; nothing is random."""
    return PoolPopularity.of(sequences.users.train, sequences.items.height)


def fine_tune(
    chosen: Params, sequences: Sequences, run: LoraRun, lessons: Lessons, seed: int, watch: Watch
) -> LoraRanker:
    """Fine-tune an adapter of the run's LLM to pick the next item from a pool; with no epochs, the LLM as it is.

    Raises LamarError when more processes train together than a batch has prompts.
    """
    if launch.processes() > run.batch:
        raise LamarError(f"params.yaml: batch: {run.batch} prompts are too few for {launch.processes()} processes")
    torch.manual_seed(seed)
    model = _ranker(chosen, sequences.items, run, lessons)
    if run.epochs:
        watch.fit(model, lessons.validation, run, run.epochs, seed, stage=1)
    return model


def _ranker(chosen: Params, items: pl.DataFrame, run: LoraRun, lessons: Lessons | None = None) -> LoraRanker:
    llm = chosen.generators[run.llm]
    catalogue = Catalogue(items, run.attribute_words)
    train = lessons.train if lessons else []
    return LoraRanker(weights_folder(llm), llm.model, run, catalogue, train).to(fit.device())


def load_fine_tuned(chosen: Params, sequences: Sequences, run: LoraRun, folder: Path) -> LoraRanker:
    """The run's LLM with the adapter in `folder`."""
    model = _ranker(chosen, sequences.items, run)
    model.load(folder)
    return model


KINDS: dict[str, Kind] = {
    "pool-popularity": Kind(count, lambda chosen, sequences, run, folder: PoolPopularity.load(folder)),
    "lora": Kind(fine_tune, load_fine_tuned),
}
