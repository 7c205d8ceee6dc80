"""One training by several processes, one GPU each, through Hugging Face Accelerate.

All of them hold the whole model and draw the same batches. Each computes its share of the rows of every batch, and
`gathered` gives all of them the results of every row, so that they compute the same loss: that of one process with the
whole batch. Of what was gathered, a process's own rows alone carry gradients; the sum of the processes' gradients is
then the whole one, and each takes the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from itertools import accumulate
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lamar import launch
from lamar.launch import LostProcessError
from lamar.training.chance import random_states, set_random_states

T = TypeVar("T")


class Alone:
    """The only process: it has every row."""

    is_main = True
    count = 1

    @property
    def device(self) -> torch.device:
        """The GPU when there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def share(self, rows: int) -> slice:
        """This process's rows of a batch of `rows`."""
        return slice(0, rows)

    def gathered(self, own: Tensor, rows: int) -> Tensor:
        """The results of all rows, (rows, ...), from those of `share(rows)`."""
        return own

    def total(self, own: Tensor, rows: int) -> Tensor:
        """The sum over all rows, from a number that is the sum over those of `share(rows)`."""
        return own

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in all of them."""

    def from_main(self, ask: Callable[[], T]) -> T:
        """What the main process answers, in all of them."""
        return ask()

    def own_chance(self, *seed: int) -> AbstractContextManager[None]:
        """Inside, PyTorch's random numbers are this process's own: dropout differs where rows do."""
        return nullcontext()

    def alike(self) -> AbstractContextManager[None]:
        """Inside `own_chance`, draw for a whole batch what one process would draw, in all processes alike."""
        return nullcontext()

    def least(self, own: int) -> int:
        """The smallest of the processes' numbers, in all of them."""
        return own

    def leave(self) -> None:
        """Wait until the main process has written everything: the training is over."""


class OneOfSeveral(Alone):
    """One of the processes that a launcher started."""

    def __init__(self) -> None:
        """Meet the others."""
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self._index, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.is_main = self._accelerator.is_main_process
        self._common: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """This process's GPU, or the CPU."""
        return self._accelerator.device

    def _bounds(self, rows: int) -> list[int]:
        """Where each process's rows begin, and the last one's end: none has two more than another."""
        few, more = divmod(rows, self.count)
        return list(accumulate((few + (process < more) for process in range(self.count)), initial=0))

    def share(self, rows: int) -> slice:
        """As of `Alone`. Where there are too few rows this is the last one, which `gathered` then leaves out.

        Every process thus computes something, and has gradients, if of zero, of the same weights.
        """
        bounds = self._bounds(rows)
        start, end = bounds[self._index : self._index + 2]
        return slice(start, end) if end > start else slice(rows - 1, rows)

    def gathered(self, own: Tensor, rows: int) -> Tensor:
        """As of `Alone`; own rows keep their gradients, the others are constants.

        Accelerate's `gather` has no gradient, and none must cross: whatever all processes compute alike from all rows
        has, in each, its whole gradient with respect to that process's rows.
        """
        bounds = self._bounds(rows)
        sizes = np.diff(bounds)
        own = own[: sizes[self._index]].to(self.device)
        even = own.new_zeros(max(sizes), *own.shape[1:])
        even[: len(own)] = own.detach()
        with _others():
            everyone = self._accelerator.gather(even).split(len(even))
        parts = [part[:size] for part, size in zip(everyone, sizes, strict=True)]
        parts[self._index] = own
        return torch.cat(parts)

    def total(self, own: Tensor, rows: int) -> Tensor:
        """As of `Alone`, with the gradients of `gathered`."""
        return self.gathered(own[None], min(rows, self.count)).sum()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """As of `Alone`, in one message: hundreds of small ones would take longer."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        with _others():
            summed = self._accelerator.reduce(nn.utils.parameters_to_vector(gradients), "sum")
        nn.utils.vector_to_parameters(summed, gradients)

    def from_main(self, ask: Callable[[], T]) -> T:
        """As of `Alone`; the others do not ask."""
        from accelerate.utils import broadcast_object_list

        with _others():
            return broadcast_object_list([ask() if self.is_main else None])[0]

    @contextmanager
    def own_chance(self, *seed: int) -> Iterator[None]:
        """As of `Alone`. Afterwards the numbers go on where `alike` left them, in all processes alike."""
        self._common = random_states()
        torch.manual_seed(int(np.random.SeedSequence([*seed, self._index]).generate_state(1)[0]))
        yield
        set_random_states(self._common)

    @contextmanager
    def alike(self) -> Iterator[None]:
        """As of `Alone`."""
        own = random_states()
        set_random_states(self._common)
        yield
        self._common = random_states()
        set_random_states(own)

    def least(self, own: int) -> int:
        """As of `Alone`."""
        with _others():
            return int(self._accelerator.gather(torch.tensor([own], device=self.device)).min())

    def leave(self) -> None:
        """As of `Alone`."""
        with _others():
            self._accelerator.wait_for_everyone()
            self._accelerator.end_training()


@contextmanager
def _others() -> Iterator[None]:
    """Raises LostProcessError when another process does not answer any more."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # what gloo and NCCL raise
        reason = str(error).splitlines()[0][:200]
        raise LostProcessError(f"another process has ended; run the same command to go on ({reason})") from error


_apart: ContextVar[Alone | None] = ContextVar("apart", default=None)


def process() -> Alone:
    """This process."""
    return _apart.get() or _started()


@cache
def _started() -> Alone:
    return OneOfSeveral() if launch.processes() > 1 else Alone()


@contextmanager
def apart() -> Iterator[None]:
    """Inside, this process is on its own: it may fail in what it computes without the others waiting for it."""
    before = _apart.set(Alone())
    try:
        yield
    finally:
        _apart.reset(before)
