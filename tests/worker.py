"""Stages as a process runs them, alone or as one of several: in a folder of its own, with all losses on record."""

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
from lamar.rankers.lora import LoraRanker
from lamar.recformer.pretraining import Pretraining
from lamar.recformer.recommender import RecformerRecommender
from lamar.training.processes import OneOfSeveral, process

STAGES = Path(__file__).parents[1] / "stages"
KINDS = {"pretrain": Pretraining, "train": RecformerRecommender, "tune": LoraRanker}


def run(folder: Path, stage: str, *arguments: str, cut: int = 0, room: int = 0) -> None:
    """Run a stage's script in `folder`, adding to <stage>.jsonl there; `cut`: the loss that fails (0: none).

    room: how many rows of a batch there is memory for (0: all).
    """
    kind = KINDS[stage]
    record = patch.object(kind, "loss", recorded(kind.loss, folder / f"{stage}.jsonl", cut, room))
    with chdir(folder), record, patch.object(sys, "argv", ["", *arguments]):
        try:
            runpy.run_path(str(STAGES / f"{stage}.py"), run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise


def recorded(loss: Any, path: Path, cut: int, room: int) -> Any:
    """Write down each value."""
    count = 0

    @wraps(loss)
    def recording(model: Any, batch: Any) -> torch.Tensor:
        nonlocal count
        if room and len(batch) > room * process().count:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")  # as PyTorch says it
        count += 1
        if count == cut:
            raise LamarError(f"loss {cut} fails")
        value = loss(model, batch)
        with path.open("a") as file:
            file.write(json.dumps(value.item()) + "\n")
        return value

    return recording


def chance() -> dict[str, list[float]]:
    """Random numbers as dropout draws them, and as they are drawn for a whole batch."""
    torch.manual_seed(0)
    with process().own_chance(0):
        own = torch.rand(3).tolist()
        with process().alike():
            alike = torch.rand(3).tolist()
        own += torch.rand(3).tolist()
    return {"own": own, "alike": alike + torch.rand(3).tolist()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    folder, cut, room, *stages = sys.argv[1:]
    mine = Path(folder, rank)
    (mine / "chance.json").write_text(json.dumps(chance()))
    *others, last = (stage.split(":") for stage in stages)
    with patch.object(OneOfSeveral, "leave"):  # they part once
        for stage in others:
            run(mine, *stage)
    run(mine, *last, cut=int(cut) if rank == "1" else 0, room=int(room))
