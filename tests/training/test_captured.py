"""Captured steps: the same gradients, the same random numbers, nothing left behind. The graphs need a GPU."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from lamar.training.captured import Graphs, mapped, tensors


@dataclass(frozen=True)
class Inner:
    values: Tensor
    window: int


@dataclass(frozen=True)
class Outer:
    inner: Inner
    targets: Tensor


def read(rows: int, seed: int, device: str = "cpu") -> Outer:
    chance = torch.Generator().manual_seed(seed)
    values, targets = torch.randn(2, rows, 8, generator=chance).to(device)
    return Outer(Inner(values, 3), targets)


def test_tensors_of_nested_dataclasses():
    first = read(2, 0)
    assert [id(tensor) for tensor in tensors(first)] == [id(first.inner.values), id(first.targets)]
    doubled = mapped(lambda tensor: 2 * tensor, first)
    assert torch.equal(doubled.inner.values, 2 * first.inner.values)
    assert torch.equal(doubled.targets, 2 * first.targets)
    assert doubled.inner.window == 3


@pytest.mark.gpu
def test_graphs_learn_what_a_step_learns():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 8)).cuda().train()

    def learn(batch: Outer) -> Tensor:
        loss = (model(batch.inner.values) - batch.targets).square().mean()
        loss.backward()
        return loss.detach()

    batches = [read(rows, seed, "cuda") for seed, rows in enumerate((4, 4, 6, 4, 6))]
    found = []
    for make in (lambda: learn, lambda: Graphs(model, learn).learn):
        model.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        step = make()
        losses = [step(batch) for batch in batches]
        found.append([*losses, *(weight.grad.clone() for weight in model.parameters())])
    for expected, ours in zip(*found, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-7)
    model.zero_grad(set_to_none=True)
    with pytest.raises(RuntimeError, match="gradients were replaced"):
        step(batches[0])
