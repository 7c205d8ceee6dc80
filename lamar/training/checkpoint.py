"""Where a training stands, on disk after every epoch (`fit.UNSAVED`): killed and started again, it goes on bit for bit.

One safetensors file, written whole; what is no tensor is JSON in its metadata. It lies outside DVC's outs, which are
deleted before a stage runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lamar.files import written_whole

State = dict[str, dict[str, Tensor]]
"""Tensors by part (model, best, optimizer, random) and name."""


@dataclass(frozen=True)
class Checkpoint:
    """A file, and the fingerprint of everything that the training hangs on: another training's file is not read."""

    path: Path
    fingerprint: str

    def save(self, state: State, notes: dict[str, Any]) -> None:
        """Write tensors and notes (JSON values). Raises LamarError when the disk is full or the folder read-only."""
        from safetensors.torch import save_file

        flat = {
            f"{part}/{name}": tensor.contiguous() for part, named in state.items() for name, tensor in named.items()
        }
        metadata = {"fingerprint": self.fingerprint, "notes": json.dumps(notes)}
        with written_whole(self.path) as unfinished:
            save_file(flat, unfinished, metadata)

    def load(self) -> tuple[State, dict[str, Any]] | None:
        """What `save` wrote, or None when there is nothing of this training."""
        from safetensors import safe_open

        if not self.path.exists():
            return None
        state: State = {}
        with safe_open(self.path, "pt") as file:
            if file.metadata()["fingerprint"] != self.fingerprint:
                return None
            for key in file.keys():  # noqa: SIM118 (it is no dict)
                part, name = key.split("/", 1)
                state.setdefault(part, {})[name] = file.get_tensor(key)
            return state, json.loads(file.metadata()["notes"])


@dataclass(frozen=True)
class Checkpoints:
    """Those of all seeds and stages of one run, in a folder."""

    folder: Path
    fingerprint: str

    def of(self, seed: int, stage: int) -> Checkpoint:
        """The checkpoint of one stage of one seed."""
        return Checkpoint(self.folder / f"seed-{seed}-stage-{stage}.safetensors", self.fingerprint)

    def clear(self) -> None:
        """Remove them all: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(made_from: dict[str, Any]) -> str:
    """Hex sha256 of `made_from` (JSON values), of this package's code and of PyTorch's version."""
    import torch

    package = Path(__file__).parents[1]
    code = [file.read_text() for file in sorted(package.rglob("*.py"))]
    return hashlib.sha256(json.dumps([made_from, torch.__version__, code], sort_keys=True).encode()).hexdigest()
