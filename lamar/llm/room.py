"""How many questions a local LLM is asked at once: what a number in params.yaml says, or what suits the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CPU_QUESTIONS = 64  # larger batches gain little on two cores, and an interruption loses more
# On a GPU a token takes the CPU as long to ask for, some 25 ms, whether for one question or for two thousand. What
# limits it is memory: while questions are read, a token takes about 100 KB of 1.5B parameters, and as much again is for
# the mask and for copies.
GPU_QUESTIONS = 2048
GPU_TOKEN_BYTES = 200_000


@dataclass(frozen=True)
class Room:
    """The most that a batch holds: questions, and if not None tokens, answers and padding included, prefix left out."""

    questions: int
    tokens: int | None = None


def room(batch: int | Literal["auto"]) -> Room:
    """`batch` questions, whatever their length; `auto`: as many as suit this machine."""
    import torch

    if batch != "auto":
        return Room(batch)
    if not torch.cuda.is_available():
        return Room(CPU_QUESTIONS)
    return Room(GPU_QUESTIONS, torch.cuda.get_device_properties(0).total_memory // GPU_TOKEN_BYTES)
