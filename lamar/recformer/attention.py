"""Longformer's attention with one global token: a sliding window, and a CLS that sees and is seen by all.

A token attends to its window and to CLS through the local projections; CLS attends to every token through projections
of its own (recformer-notes item 5). With a single global query its key and value projections need not be applied to
every token: the key's is folded into the query, the value's into the pooled result. Both are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

OfCls = Callable[[], Tensor]
"""Computes the rows of CLS, (users, hidden), when it is asked."""


class Layout(Protocol):
    """How the tokens of several users lie in one tensor: `Padded` or `Packed`, whose methods these are."""

    @property
    def places(self) -> Tensor:
        """The place of every token in its history."""

    def first(self, tokens: Tensor) -> Tensor:
        """CLS of every user, (users, hidden)."""

    def mean(self, tokens: Tensor) -> Tensor:
        """The mean of every user's tokens, (users, hidden)."""

    def attend(self, tokens: Tensor, projections: list[nn.Linear], heads: int, rate: float, of_cls: OfCls) -> Tensor:
        """Local attention, in whose result the rows of CLS are `of_cls()`."""

    def pool(self, tokens: Tensor, folded: Tensor, rate: float) -> tuple[Tensor, Tensor | float]:
        """Means of a user's tokens by the softmax of their products with `folded`, and the sum of the weights kept."""


class Attention(nn.Module):
    """Local attention for every token but CLS, global attention for CLS."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        """Six projections of `hidden` to `hidden`, `heads` heads; `dropout` is of the attention probabilities."""
        super().__init__()
        self.dropout = dropout
        self.heads = heads
        for name in ("query", "key", "value", "query_global", "key_global", "value_global"):
            self.add_module(name, nn.Linear(hidden, hidden))

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """Tokens as they lie, (..., hidden) -> the same shape."""
        local = [self.query, self.key, self.value]
        return layout.attend(tokens, local, self.heads, self._rate, lambda: self.of_cls(tokens, layout))

    def of_cls(self, tokens: Tensor, layout: Layout) -> Tensor:
        """CLS's own attention over all its user's tokens: (..., hidden) -> (users, hidden)."""
        first = layout.first(tokens)
        users, hidden = first.shape
        size = hidden // self.heads
        query = self.query_global(first).view(users, self.heads, size) / size**0.5
        # (query . key bias) is the same for all tokens and cancels in the softmax
        folded = torch.einsum("uhs,hsc->uhc", query, self.key_global.weight.view(self.heads, size, hidden))
        seen, kept = layout.pool(tokens, folded, self._rate)
        bias = self.value_global.bias.view(self.heads, size) * kept  # what dropout leaves no longer sums to 1
        pooled = torch.einsum("uhc,hsc->uhs", seen, self.value_global.weight.view(self.heads, size, hidden))
        return (pooled + bias).reshape(users, hidden)

    @property
    def _rate(self) -> float:
        return self.dropout if self.training else 0.0
