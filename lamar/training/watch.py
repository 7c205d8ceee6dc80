"""Who looks on while a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lamar.params import Training
from lamar.training import fit
from lamar.training.checkpoint import Checkpoint
from lamar.training.course import Epoch
from lamar.training.examples import Split


@dataclass(frozen=True)
class Watch:
    """Looks on while a seed is trained; stages are numbered 1, 2.

    seen: told every epoch as it ends; checkpoint: where a stage's progress is kept, if anywhere; note: told what is
    done where no epoch ends for a while; spent: told how many seconds that took.
    """

    seen: Callable[[int, Epoch], None]
    checkpoint: Callable[[int], Checkpoint | None]
    note: Callable[[str], None] = lambda text: None
    spent: Callable[[float], None] = lambda seconds: None

    def fit(self, model: Any, validation: Split, run: Training, epochs: int, seed: int | list[int], stage: int) -> None:
        """Train one stage."""
        fit.fit(model, validation, run, epochs, seed, partial(self.seen, stage), self.checkpoint(stage))
