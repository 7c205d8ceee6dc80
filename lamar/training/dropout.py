"""Dropout that does not wait for the random number generator.

On a CPU, PyTorch draws a number of 32 bits or more for every element; in small models that takes a quarter of a
training step. One random byte an element is enough: the rate is then a multiple of 1/256, and the scale is that of the
rate really drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256  # values of a byte


def dropout(values: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each element with probability `rate` and scale the others so that the mean stays."""
    if not training or rate == 0:
        return values
    if values.is_cuda:
        return functional.dropout(values, rate)
    dropped = round(rate * LEVELS)
    words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= dropped
    return values * kept * (LEVELS / (LEVELS - dropped))


class Dropout(nn.Module):
    """`dropout` as a module: it does nothing in evaluation."""

    def __init__(self, rate: float) -> None:
        """`rate`: the share of elements that are zeroed."""
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return dropout(values, self.rate, self.training)
