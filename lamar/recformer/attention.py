"""Longformer's attention with one global token: a sliding window, and a CLS that sees and is seen by all.

A token attends to its window and to CLS through the local projections; CLS attends to every token through projections
of its own (recformer-notes item 5). With a single global query its key and value projections need not be applied to
every token: the key's is folded into the query, the value's into the pooled result. Both are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.training.dropout import dropout


def window_mask(lengths: Tensor, width: int, window: int) -> Tensor:
    """Which tokens a token sees: bool (users, 1, width, width), from lengths (users,) in tokens.

    CLS (column 0) is seen by all; a padding row sees CLS alone, so that its softmax is defined.
    """
    places = torch.arange(width, device=lengths.device)
    near = (places[:, None] - places[None, :]).abs() <= window
    real = places < lengths[:, None]
    seen = near[None] & real[:, None, :] & real[:, :, None]
    seen[:, :, 0] = True
    return seen[:, None]


class Attention(nn.Module):
    """Local attention for every token but CLS, global attention for CLS."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        """Six projections of `hidden` to `hidden`, `heads` heads; `dropout` is of the attention probabilities."""
        super().__init__()
        self.dropout = dropout
        self.heads = heads
        for name in ("query", "key", "value", "query_global", "key_global", "value_global"):
            self.add_module(name, nn.Linear(hidden, hidden))

    def forward(self, tokens: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
        """(users, tokens, hidden) -> the same shape; row 0 is CLS's."""
        users, width, hidden = tokens.shape
        query, key, value = (
            projection(tokens).view(users, width, self.heads, -1).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        local = _attend(query, key, value, mask, self.dropout if self.training else 0.0)
        local = local.transpose(1, 2).reshape(users, width, hidden)
        return torch.cat([self.of_cls(tokens, lengths)[:, None], local[:, 1:]], dim=1)

    def of_cls(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """CLS's own attention over all its user's tokens: (users, tokens, hidden) -> (users, hidden)."""
        users, width, hidden = tokens.shape
        size = hidden // self.heads
        query = self.query_global(tokens[:, 0]).view(users, self.heads, size) / size**0.5
        # (query . key bias) is the same for all tokens and cancels in the softmax
        folded = torch.einsum("uhs,hsc->uhc", query, self.key_global.weight.view(self.heads, size, hidden))
        scores = folded @ tokens.transpose(1, 2)
        padding = torch.arange(width, device=lengths.device) >= lengths[:, None]
        weights = scores.float().masked_fill(padding[:, None], float("-inf")).softmax(-1)
        kept = dropout(weights, self.dropout, self.training)
        bias = self.value_global.bias.view(self.heads, size)
        if kept is not weights:  # they no longer sum to 1
            bias = bias * kept.sum(-1, keepdim=True)
        seen = kept.to(tokens.dtype) @ tokens
        pooled = torch.einsum("uhc,hsc->uhs", seen, self.value_global.weight.view(self.heads, size, hidden))
        return (pooled + bias).reshape(users, hidden)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, rate: float) -> Tensor:
    """Softmax attention, (users, heads, tokens, size) each, where `mask` is True, with dropout at `rate`.

    On a CPU written out: the backward pass of PyTorch's fused kernel takes five times as long there in bfloat16.
    """
    if query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = dropout(scores.masked_fill(~mask, float("-inf")).softmax(-1), rate, training=True)
    return weights @ value
