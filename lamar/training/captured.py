"""The gradients of a batch as one CUDA graph: a launch instead of a thousand, between which a GPU would wait.

A graph repeats what was done once, on the same memory. So a batch is copied to where the graph reads it, there is a
graph for every shape of a batch, and gradients are added up in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lamar.training.chance import random_states, set_random_states

WARM_UP = 2  # times before a capture: the first compiles kernels and chooses matrix products


@runtime_checkable
class Capturable(Protocol):
    """A model whose loss can be computed without the host."""

    def read(self, batch: Any) -> Any | None:
        """A batch on the device, a dataclass of tensors in one of few shapes; None where there is none."""

    def loss_of(self, read: Any) -> Tensor:
        """The mean loss of what was read, from its tensors alone."""


class _Graph(NamedTuple):
    replay: Callable[[], None]
    read: Any
    loss: Tensor


class Graphs:
    """Those of one training."""

    def __init__(self, model: nn.Module, learn: Callable[[Any], Tensor]) -> None:
        """`learn` adds the gradients of what was read and gives the loss."""
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._learn = learn
        self._graphs: dict[tuple[torch.Size, ...], _Graph] = {}
        self._captured_for: list[int] = []
        self._pool = torch.cuda.graph_pool_handle()  # one at a time runs: they share their memory

    def learn(self, read: Any) -> Tensor:
        """Add the gradients of what was read; return its loss.

        Raises RuntimeError when somebody has moved the gradients since the first capture: graphs add to where they lay.
        """
        shape = tuple(tensor.shape for tensor in tensors(read))
        if shape not in self._graphs:
            self._graphs[shape] = self._captured(mapped(torch.clone, read))
            self._captured_for = self._captured_for or self._addresses()
        if self._addresses() != self._captured_for:
            raise RuntimeError("gradients were replaced since a step was captured: zero them in place")
        graph = self._graphs[shape]
        for kept, new in zip(tensors(graph.read), tensors(read), strict=True):
            kept.copy_(new)
        graph.replay()
        return graph.loss.clone()

    def _addresses(self) -> list[int]:
        return [0 if weight.grad is None else weight.grad.data_ptr() for weight in self._weights]

    def _captured(self, read: Any) -> _Graph:
        """A graph of `learn`. Gradients and random numbers are left as they were."""
        chance = random_states()
        gradients = [None if weight.grad is None else weight.grad.clone() for weight in self._weights]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._learn(read)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            loss = self._learn(read)
        for weight, before in zip(self._weights, gradients, strict=True):
            if before is not None:
                weight.grad.copy_(before)
            elif weight.grad is not None:
                weight.grad.zero_()
        set_random_states(chance)
        return _Graph(graph.replay, read, loss)


def tensors(read: Any) -> Iterator[Tensor]:
    """All tensors of a dataclass, and of the dataclasses in it, in the order of its fields."""
    for field in fields(read):
        value = getattr(read, field.name)
        if isinstance(value, Tensor):
            yield value
        elif is_dataclass(value):
            yield from tensors(value)


def mapped(change: Callable[[Tensor], Tensor], read: Any) -> Any:
    """The same dataclass with all its tensors changed."""
    changes = {}
    for field in fields(read):
        value = getattr(read, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = change(value)
        elif is_dataclass(value):
            changes[field.name] = mapped(change, value)
    return replace(read, **changes)
