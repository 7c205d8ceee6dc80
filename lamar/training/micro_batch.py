"""Batches that the device cannot hold, learned a few rows at a time: their gradients add up to those of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

from lamar.console import say
from lamar.errors import LamarError
from lamar.params import Divided
from lamar.training.chance import random_states, set_random_states
from lamar.training.course import Course
from lamar.training.processes import apart, process

MOMENTS = 2  # tensors that AdamW keeps of every weight, from its first step on


class Divisible(Protocol):
    """A torch module whose loss of a batch is a mean over its rows, which hang on nothing else in the batch."""

    def parts(self, batch: Any, rows: int) -> Iterator[tuple[Any, float]]:
        """A batch in parts of at most `rows` rows, each with what its loss counts in that of the batch."""

    def heaviest(self, rows: int) -> Any:
        """A batch of `rows` rows than which none takes more memory."""


def micro_batch(course: Course, learn: Callable[[Any], Any]) -> int | None:
    """How many rows each process has on its device at once; None: its whole share of a batch.

    `auto` is found by trying, with `learn`, which adds the gradients of a batch. Raises LamarError when not even one
    row fits.
    """
    settings = course.settings
    if not isinstance(settings, Divided):
        return None
    if settings.micro_batch != "auto":
        return settings.micro_batch
    rows = process().least(_found(course, learn))
    say(f"micro_batch: {rows} of {settings.batch} rows at once")
    return rows


def _found(course: Course, learn: Callable[[Any], Any]) -> int:
    """By learning the heaviest rows, with all memory taken that training takes; it leaves no trace."""
    model: Divisible = course.model
    settings = course.settings
    states = random_states()
    learned = [] if course.optimizer.state else [weight for weight in model.parameters() if weight.requires_grad]
    moments = [torch.empty_like(weight) for weight in learned for _ in range(MOMENTS)]

    def attempt(rows: int) -> None:
        model.zero_grad(set_to_none=True)
        for _ in range(2):  # the second has the gradients of the first beside it
            learn(model.heaviest(min(rows, settings.batch)))

    model.train()
    with apart():
        rows = largest(attempt, settings.batch)
    del moments
    model.zero_grad(set_to_none=True)
    set_random_states(states)
    return rows


def largest(attempt: Callable[[int], None], most: int) -> int:
    """The largest power of two for which `attempt` has the memory, beginning with the first that is at least `most`.

    Raises LamarError when there is none.
    """
    from accelerate.utils import find_executable_batch_size

    rows = 1 << (most - 1).bit_length()

    def halved() -> int:
        nonlocal rows
        rows //= 2
        if not rows:
            raise LamarError(
                "micro_batch: not even one row fits into memory: shorten the texts or take a smaller model"
            )
        return rows

    @find_executable_batch_size(starting_batch_size=rows, reduce_batch_size_fn=halved)
    def fitting(batch_size: int) -> int:
        attempt(batch_size)
        return batch_size

    return fitting()
