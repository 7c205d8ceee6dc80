"""The small Transformer that models of item ids share: pre-norm layers over sequences of vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.training.dropout import Dropout


def sight(real: Tensor, causal: bool) -> Tensor:
    """Which positions a position sees, bool (users, 1, positions, positions), from `real` (users, positions).

    All real ones, or with `causal` those up to itself; a padding position sees itself, so that its softmax is defined.
    """
    width = real.shape[1]
    seen = real[:, None, :].expand(-1, width, -1)
    if causal:
        seen = seen & torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
    return (seen | torch.eye(width, dtype=torch.bool, device=real.device))[:, None]


class Layer(nn.Module):
    """Attention and a two-layer network, each after a norm and added to what it reads."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        """`hidden` is a multiple of `heads`."""
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.attention_output = nn.Linear(hidden, hidden)
        self.network_norm = nn.LayerNorm(hidden)
        self.intermediate = nn.Linear(hidden, 4 * hidden)
        self.output = nn.Linear(4 * hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """(users, positions, hidden) and a mask as `sight` gives it -> (users, positions, hidden)."""
        states = states + self.dropout(self.attention_output(self._attend(self.attention_norm(states), seen)))
        inner = self.dropout(functional.gelu(self.intermediate(self.network_norm(states))))
        return states + self.dropout(self.output(inner))

    def _attend(self, states: Tensor, seen: Tensor) -> Tensor:
        users, width, hidden = states.shape
        parts = self.query_key_value(states).view(users, width, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = self.dropout(scores.masked_fill(~seen, float("-inf")).softmax(-1))
        return (weights @ value).transpose(1, 2).reshape(users, width, hidden)


class Encoder(nn.Module):
    """Layers, and a last norm."""

    def __init__(self, hidden: int, layers: int, heads: int, dropout: float, *, causal: bool) -> None:
        """With `causal` a position sees none after it."""
        super().__init__()
        self.causal = causal
        self.layers = nn.ModuleList(Layer(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """(users, positions, hidden) and bool (users, positions), False where padded -> (users, positions, hidden)."""
        seen = sight(real, self.causal)
        for layer in self.layers:
            states = layer(states, seen)
        return self.norm(states)
