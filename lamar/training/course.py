"""Where a training stands: its optimiser, its step of the schedule, its random numbers, its best weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamar.params import Training
from lamar.training.captured import Graphs
from lamar.training.chance import random_states, set_random_states
from lamar.training.checkpoint import Checkpoint
from lamar.training.processes import process


@dataclass(frozen=True)
class Epoch:
    """One line of a learning curve; `loss` is the mean over the epoch's batches."""

    epoch: int
    loss: float
    validation: float
    seconds: float


@dataclass
class Course:
    """One stage of training a model; `steps` of the whole stage are known once its first batches are drawn.

    losses: of the batches of the epoch that is under way; drawn: what `rng` was before these were drawn; started: when
    it began, in seconds of the clock that counts up.
    """

    model: Any
    settings: Training
    optimizer: torch.optim.Optimizer
    rng: np.random.Generator
    curve: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    steps: int = 0
    graphs: Graphs | None = None
    losses: list[Tensor] = field(default_factory=list)
    drawn: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0

    @classmethod
    def start(cls, model: Any, settings: Training, seed: int | list[int]) -> Course:
        """At the beginning: nothing validated, no step taken."""
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        rate, decay = settings.learning_rate, settings.weight_decay
        optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=decay, fused=True)
        return cls(model, settings, optimizer, np.random.default_rng(seed))

    def goes_on(self, epochs: int) -> bool:
        """Whether another epoch is due: fewer than `epochs` are done and the best one is not too long ago."""
        best = max(self.curve, key=lambda epoch: epoch.validation).epoch
        last = self.curve[-1].epoch
        return last < epochs and last - best < self.settings.patience

    def begin(self) -> None:
        """An epoch begins, unless it was taken up in its middle."""
        if not self.losses:
            self.started = time.perf_counter()

    def batches(self) -> Sequence[Any]:
        """Those of the epoch: drawn for the first time, or the same once more."""
        self.drawn = self.rng.bit_generator.state
        return self.model.batches(self.rng)

    def end(self) -> float:
        """An epoch ends; returns the mean loss of its batches."""
        mean = float(torch.stack(self.losses).mean())
        self.losses = []
        return mean

    def add(self, epoch: Epoch) -> None:
        """Put an epoch on the curve, and keep the weights if it is the best so far."""
        if not self.curve or epoch.validation > max(past.validation for past in self.curve):
            self.best = copy.deepcopy(self.model.state_dict())
        self.curve.append(epoch)

    def take_step(self) -> None:
        """One step of the optimiser, at the learning rate that is due."""
        process().sum_gradients(self.model.parameters())
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._share_of_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=self.graphs is None)  # graphs add to gradients where they lie
        self.step += 1

    def _share_of_rate(self) -> float:
        """Linear warm-up, then linear decay to zero over the steps of the stage (recformer-notes item 15)."""
        warmup = self.settings.warmup_steps
        falling = max(0.0, (self.steps - self.step) / max(self.steps - warmup, 1))
        return min((self.step + 1) / max(warmup, 1), falling)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write everything that the rest of the training hangs on, but weights that are frozen."""
        frozen = {name for name, weight in self.model.named_parameters() if not weight.requires_grad}
        state = {
            "model": {name: tensor for name, tensor in self.model.state_dict().items() if name not in frozen},
            "best": {name: tensor for name, tensor in self.best.items() if name not in frozen},
            "optimizer": self._optimizer_state(),
            "random": random_states(),
        }
        notes = {
            "curve": [asdict(epoch) for epoch in self.curve],
            "step": self.step,
            "steps": self.steps,
            "rng": self.drawn if self.losses else self.rng.bit_generator.state,
            "losses": [float(loss) for loss in self.losses],
            "seconds": time.perf_counter() - self.started,
        }
        checkpoint.save(state, notes)

    def resume(self, checkpoint: Checkpoint) -> bool:
        """Stand where `save` was called; False when there is nothing to resume."""
        saved = process().from_main(checkpoint.load)
        if saved is None:
            return False
        state, notes = saved
        self.best = {**self.model.state_dict(), **state["best"]}
        self.model.load_state_dict({**self.model.state_dict(), **state["model"]})
        self._load_optimizer(state["optimizer"])
        self.curve = [Epoch(**epoch) for epoch in notes["curve"]]
        self.step, self.steps = notes["step"], notes["steps"]
        self.rng.bit_generator.state = notes["rng"]
        device = self.optimizer.param_groups[0]["params"][0].device
        self.losses = [torch.tensor(loss, device=device) for loss in notes["losses"]]
        self.started = time.perf_counter() - notes["seconds"]
        set_random_states(state["random"])
        return True

    def _optimizer_state(self) -> dict[str, Tensor]:
        by_weight = self.optimizer.state_dict()["state"]
        return {f"{weight}.{name}": tensor for weight, values in by_weight.items() for name, tensor in values.items()}

    def _load_optimizer(self, flat: dict[str, Tensor]) -> None:
        by_weight: dict[int, dict[str, Tensor]] = {}
        for key, tensor in flat.items():
            weight, name = key.split(".", 1)
            by_weight.setdefault(int(weight), {})[name] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": by_weight})
