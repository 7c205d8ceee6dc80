"""A stage as a process runs it, alone or as one of several: in a folder of its own, with all its losses on record."""

from __future__ import annotations

import json
import os
import runpy
import sys
from contextlib import chdir
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from lamar.errors import LamarError
from lamar.recformer.pretraining import Pretraining
from lamar.recformer.recommender import RecformerRecommender
from lamar.training.processes import process

STAGES = Path(__file__).parents[2] / "stages"
LOSSES = Path("losses.jsonl")


def run(folder: Path, stage: str, *arguments: str, cut: int = 0) -> None:
    """Run a stage's script in `folder`, adding to its LOSSES; `cut`: the loss that fails (0: none)."""
    kind = {"train": RecformerRecommender, "pretrain": Pretraining}[stage]
    with chdir(folder), patch.object(kind, "loss", recorded(kind.loss, cut)), patch.object(sys, "argv", ["", *arguments]):
        runpy.run_path(str(STAGES / f"{stage}.py"), run_name="__main__")


def recorded(loss: Any, cut: int) -> Any:
    """Write down each value."""
    count = 0

    @wraps(loss)
    def recording(*arguments: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == cut:
            raise LamarError(f"loss {cut} fails")
        value = loss(*arguments)
        with LOSSES.open("a") as file:
            file.write(json.dumps(value.item()) + "\n")
        return value

    return recording


def chance() -> dict[str, list[float]]:
    """Random numbers as dropout draws them and as a whole batch does."""
    torch.manual_seed(0)
    with process().own_chance(0):
        own = torch.rand(3).tolist()
        with process().alike():
            alike = torch.rand(3).tolist()
        own += torch.rand(3).tolist()
    return {"own": own, "alike": alike, "after": torch.rand(3).tolist()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    mine = Path(sys.argv[1], rank)
    (mine / "chance.json").write_text(json.dumps(chance()))
    cut = int(sys.argv[2]) if rank == "1" else 0
    run(mine, *sys.argv[3:], cut=cut)
