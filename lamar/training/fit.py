"""The one training loop: epochs over batches, validation NDCG@10 after each, early stopping, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lamar.evaluation.metrics import ndcg
from lamar.evaluation.ranks import count, refuse_nan
from lamar.params import Divided, Run, Training
from lamar.training.captured import Capturable, Graphs
from lamar.training.checkpoint import Checkpoint
from lamar.training.course import Course, Epoch
from lamar.training.devices import sent
from lamar.training.examples import Split
from lamar.training.memory import keep_freed
from lamar.training.micro_batch import micro_batch
from lamar.training.processes import process

# Seconds of training that may be lost: on a GPU an epoch takes half a second, and writing the weights as long.
UNSAVED = {"cpu": 0.0, "cuda": 10.0}
# The same inside of an epoch, of a model that can be taken up there: an LLM's epoch takes hours, its adapter a moment.
UNSAVED_WITHIN = 60.0

Scores = Iterator[tuple[np.ndarray, Tensor]]
"""(rows, scores): indices into the histories asked for, and float32 (rows, items) where the model is."""


class Trainable(Protocol):
    """What the loop needs of a model, which is a torch module besides.

    One whose `renew` has nothing to do may say `resumes_within = True`: it is then saved inside of an epoch, too.
    """

    def batches(self, rng: np.random.Generator) -> Sequence[Any]:
        """The training batches of one epoch."""

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch; of several processes' batch, with the gradients of this process's share."""

    def renew(self) -> None:
        """Bring up to date what the loss and the scores read besides the weights; called before every epoch."""

    def scores(self, histories: Sequence[np.ndarray]) -> Scores:
        """Scores of all items for every history."""


def fit(
    model: Trainable,
    validation: Split,
    settings: Training,
    epochs: int,
    seed: int | list[int],
    seen: Callable[[Epoch], None],
    checkpoint: Checkpoint | None = None,
) -> list[Epoch]:
    """Train up to `epochs` epochs and leave the model at its best on validation NDCG@10; return the learning curve.

    Stops after `settings.patience` epochs without a better one. `seen` is told every epoch as it ends. With a
    `checkpoint`, a training that was cut off goes on where it stood; `seen` is told the epochs before, too.
    """
    sample = _sample(validation, settings.validation_users)
    course = course_of(model, settings, seed)
    if not (checkpoint and course.resume(checkpoint)):
        _renew(model, settings)
        course.add(Epoch(0, float("nan"), validation_ndcg(model, sample, settings), 0.0))
    rows = micro_batch(course, lambda batch: _learn(model, batch, settings))
    for epoch in course.curve[1:]:
        seen(epoch)
    saved = time.perf_counter()

    def save(after: float) -> None:
        nonlocal saved
        if checkpoint and process().is_main and time.perf_counter() - saved >= after:
            course.save(checkpoint)
            saved = time.perf_counter()

    within = getattr(model, "resumes_within", False) and process().count == 1
    while course.goes_on(epochs):
        course.begin()
        if course.curve[-1].epoch > 0:  # the first epoch's is the state just validated
            _renew(model, settings)
        with process().own_chance(*np.ravel(seed), course.curve[-1].epoch):
            loss = _train_epoch(course, epochs, rows, partial(save, UNSAVED_WITHIN if within else math.inf))
        score = validation_ndcg(model, sample, settings)
        course.add(Epoch(course.curve[-1].epoch + 1, loss, score, time.perf_counter() - course.started))
        save(UNSAVED[device().type])
        seen(course.curve[-1])
    model.load_state_dict(course.best)
    return course.curve


def course_of(model: Trainable, settings: Training, seed: int | list[int]) -> Course:
    """The course of a training of which nothing is done. On one GPU the steps of models that allow it are captured."""
    course = Course.start(model, settings, seed)
    divided = isinstance(settings, Divided) and settings.micro_batch
    if device().type == "cuda" and isinstance(model, Capturable) and process().count == 1 and not divided:
        course.graphs = Graphs(model, lambda read: _backward(model.loss_of, read, settings))
    return course


def ranks(model: Trainable, split: Split, settings: Run) -> tuple[np.ndarray, np.ndarray, int]:
    """Rank every target of a split: (greater, equal), each (users,), and the number of candidates.

    Processes that train together share the users out. Raises LamarError when a score is NaN.
    """
    users = len(split.targets)
    mine = process().share(users)
    *own, candidates = _own_ranks(model, Split(split.histories[mine], split.targets[mine]), settings)
    greater, equal = (process().gathered(counts, users).cpu().numpy() for counts in own)
    refuse_nan(greater)
    return greater, equal, candidates


def _own_ranks(model: Trainable, split: Split, settings: Run) -> tuple[Tensor, Tensor, int]:
    """As `ranks`, on the device: nothing is read back before the last batch is under way."""
    targets = sent(split.targets, device())
    greater, equal = torch.empty((2, len(targets)), dtype=torch.int32, device=targets.device)
    candidates = 0
    with torch.inference_mode(), precision(settings):
        for rows, scores in model.scores(split.histories):
            there = sent(rows, device())
            greater[there], equal[there] = count(scores.to(targets.device), targets[there])
            candidates = scores.shape[1]
    return greater, equal, candidates


def validation_ndcg(model: Trainable, split: Split, settings: Training) -> float:
    """NDCG@10 on a split, ties in expectation."""
    greater, equal, candidates = ranks(model, split, settings)
    return float(ndcg(greater, equal, np.full_like(greater, candidates), 10).mean())


def precision(settings: Run) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16 where the run asks for it; sums, norms and the loss stay float32.

    What a Recformer hands from layer to layer is an exception on a GPU (lamar.recformer.model.as_read).
    """
    return torch.autocast(device().type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def device() -> torch.device:
    """The GPU when there is one; of several, this process's. On a CPU memory is kept from then on."""
    chosen = process().device
    if chosen.type == "cpu":
        keep_freed()
    return chosen


def _renew(model: Trainable, settings: Training) -> None:
    with torch.no_grad(), precision(settings):
        model.renew()


def _train_epoch(course: Course, epochs: int, rows: int | None, stepped: Callable[[], None]) -> float:
    """The rest of one epoch of `epochs`, batches in parts of `rows` rows; returns the mean loss of all its batches.

    `stepped` is called after every step of the optimiser.
    """
    model, settings = course.model, course.settings
    batches = course.batches()
    course.steps = course.steps or epochs * -(-len(batches) // settings.accumulate)
    model.train()
    for number, batch in islice(enumerate(batches, start=1), len(course.losses), None):
        read = course.graphs and model.read(batch)
        course.losses.append(course.graphs.learn(read) if read else _learn(model, batch, settings, rows))
        if number % settings.accumulate == 0 or number == len(batches):
            course.take_step()
            stepped()
    return course.end()


def _learn(model: Any, batch: Any, settings: Training, rows: int | None = None) -> Tensor:
    """Add the gradients of a batch, `rows` of its rows at a time (None: all at once); return its mean loss."""
    parts = model.parts(batch, rows * process().count) if rows else [(batch, 1.0)]
    losses = [_backward(model.loss, part, settings, weight) for part, weight in parts]
    return torch.stack(losses).sum()


def _backward(loss_of: Callable[[Any], Tensor], batch: Any, settings: Training, weight: float = 1.0) -> Tensor:
    """Add the gradients of a batch's loss times `weight`; return that loss."""
    with precision(settings):
        loss = loss_of(batch) * weight
    (loss / settings.accumulate).backward()
    return loss.detach()


def _sample(split: Split, users: int) -> Split:
    """The first `users` users in a fixed random order (0: all): the same sample for every model and seed."""
    if not 0 < users < len(split.targets):
        return split
    rows = np.sort(np.random.default_rng(0).permutation(len(split.targets))[:users])
    return Split([split.histories[row] for row in rows], split.targets[rows])
