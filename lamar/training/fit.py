"""The one training loop: epochs over batches, validation NDCG@10 after each, early stopping, the best epoch kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lamar.evaluation.metrics import ndcg
from lamar.evaluation.ranks import rank_scores
from lamar.params import Run, Training
from lamar.training.examples import Split

Scores = Iterator[tuple[np.ndarray, np.ndarray]]
"""(rows, scores): indices into the histories asked for, and float32 (rows, items)."""


class Trainable(Protocol):
    """What the loop needs of a model, which is a torch module besides."""

    def batches(self, rng: np.random.Generator) -> Sequence[Any]:
        """The training batches of one epoch."""

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch."""

    def renew(self) -> None:
        """Bring up to date what the loss and the scores read besides the weights; called before every epoch."""

    def scores(self, histories: Sequence[np.ndarray]) -> Scores:
        """Scores of all items for every history."""


@dataclass(frozen=True)
class Epoch:
    """One line of a learning curve; `loss` is the mean over the epoch's batches."""

    epoch: int
    loss: float
    validation: float
    seconds: float


def fit(
    model: Trainable,
    validation: Split,
    settings: Training,
    epochs: int,
    seed: int | list[int],
    seen: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train up to `epochs` epochs and leave the model at its best on validation NDCG@10; return the learning curve.

    Stops after `settings.patience` epochs without a better one. `seen` is told every epoch as it ends.
    """
    rng = np.random.default_rng(seed)
    sample = _sample(validation, settings.validation_users)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
    _renew(model, settings)
    best = Epoch(0, float("nan"), validation_ndcg(model, sample, settings), 0.0)
    state = copy.deepcopy(model.state_dict())
    curve = [best]
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        if epoch > 1:  # the first is the state just validated
            _renew(model, settings)
        batches = model.batches(rng)
        steps = -(-len(batches) // settings.accumulate)
        scheduler = scheduler or _schedule(optimizer, settings.warmup_steps, epochs * steps)
        loss = _train_epoch(model, batches, optimizer, scheduler, settings)
        score = validation_ndcg(model, sample, settings)
        curve.append(Epoch(epoch, loss, score, time.perf_counter() - started))
        seen(curve[-1])
        if score > best.validation:
            best, state = curve[-1], copy.deepcopy(model.state_dict())
        elif epoch - best.epoch >= settings.patience:
            break
    model.load_state_dict(state)
    return curve


def ranks(model: Trainable, split: Split, settings: Run) -> tuple[np.ndarray, np.ndarray, int]:
    """Rank every target of a split: (greater, equal), each (users,), and the number of candidates.

    Raises LamarError when a score is NaN.
    """
    greater = np.empty(len(split.targets), np.int64)
    equal = np.empty_like(greater)
    candidates = 0
    with torch.inference_mode(), precision(settings):
        for rows, scores in model.scores(split.histories):
            greater[rows], equal[rows] = rank_scores(scores, split.targets[rows])
            candidates = scores.shape[1]
    return greater, equal, candidates


def validation_ndcg(model: Trainable, split: Split, settings: Training) -> float:
    """NDCG@10 on a split, ties in expectation."""
    greater, equal, candidates = ranks(model, split, settings)
    return float(ndcg(greater, equal, np.full_like(greater, candidates), 10).mean())


def precision(settings: Run) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16 where the run asks for it; sums, norms and the loss stay float32."""
    return torch.autocast(device().type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _renew(model: Trainable, settings: Training) -> None:
    with torch.no_grad(), precision(settings):
        model.renew()


def _train_epoch(model: Trainable, batches: Sequence[Any], optimizer: Any, scheduler: Any, settings: Training) -> float:
    model.train()
    losses = []
    for number, batch in enumerate(batches, start=1):
        with precision(settings):
            loss = model.loss(batch)
        (loss / settings.accumulate).backward()
        losses.append(loss.detach())
        if number % settings.accumulate == 0 or number == len(batches):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
    return float(torch.stack(losses).mean())


def _schedule(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Linear warm-up, then linear decay to zero over the steps of the stage (recformer-notes item 15)."""

    def factor(step: int) -> float:
        return min((step + 1) / max(warmup, 1), max(0.0, (steps - step) / max(steps - warmup, 1)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _sample(split: Split, users: int) -> Split:
    """The first `users` users in a fixed random order (0: all): the same sample for every model and seed."""
    if not 0 < users < len(split.targets):
        return split
    rows = np.sort(np.random.default_rng(0).permutation(len(split.targets))[:users])
    return Split([split.histories[row] for row in rows], split.targets[rows])
