"""Stages in two processes that talk through gloo, as a launcher starts them, and what each of them leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import worker
from safetensors.torch import load_file

from lamar.evaluation import ranks
from lamar.evaluation.metrics import summarise

REPOSITORY = Path(__file__).parents[1]


def launch(folder: Path, *stages: tuple[str, ...], cut: int = 0, room: int = 0) -> subprocess.CompletedProcess[str]:
    """Run stages in two processes, each in a folder of its own.

    In the last stage the second one fails at loss `cut`, and each has the memory for `room` rows of a batch (0: all).
    """
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    wanted = [str(folder), str(cut), str(room), *map(":".join, stages)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [*launcher, "--main_process_port", "0", str(Path(worker.__file__)), *wanted]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@dataclass
class Left:
    """What a process left in its folder."""

    folder: Path

    def losses(self, stage: str) -> list[float]:
        return [json.loads(line) for line in (self.folder / f"{stage}.jsonl").read_text().splitlines()]

    def chance(self) -> dict[str, list[float]]:
        return json.loads((self.folder / "chance.json").read_text())

    def metrics(self, ranked: str) -> dict[str, float]:
        return summarise(ranks.read(self.folder / f"ranks/{ranked}.parquet"), "expected")

    def curve(self, path: str) -> np.ndarray:
        return pl.read_csv(self.folder / path).to_numpy()

    def weights(self, path: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / path)

    def written(self) -> set[str]:
        """Its files but those that were there and its record."""
        found = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}
        return {name for name in found if not name.startswith(("data/", "models/backbones/")) and "/" in name}


@dataclass
class Together:
    """The same stages in one process, and in two: cut off, and gone on."""

    alone: Left
    main: Left
    second: Left
    cut: subprocess.CompletedProcess[str]
    cut_files: tuple[set[str], set[str]]
    done: subprocess.CompletedProcess[str]
