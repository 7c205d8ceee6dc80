"""Histories side by side, padded at the end to the longest: what a CPU reads fastest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.recformer import banded
from lamar.recformer.attention import OfCls
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


@dataclass(frozen=True)
class Padded:
    """Tensors are (users, width, ...); `lengths` (users,) in tokens, `window` in tokens to each side."""

    lengths: Tensor
    width: int
    window: int

    @cached_property
    def places(self) -> Tensor:
        """The place of every token in its history; one row for all users, (width,)."""
        return torch.arange(self.width, device=self.lengths.device)

    @cached_property
    def mask(self) -> Tensor:
        """What sees what (`window_mask`)."""
        return window_mask(self.lengths, self.width, self.window)

    @cached_property
    def band(self) -> Tensor:
        """What sees what of its blocks (`banded.band_mask`)."""
        return banded.band_mask(self.lengths, self.width, self.window)

    @property
    def real(self) -> Tensor:
        """Which tokens are no padding: bool (users, width)."""
        return self.places < self.lengths[:, None]

    def rows(self, users: slice) -> Padded:
        """The layout of some of the users, as wide."""
        return Padded(self.lengths[users], self.width, self.window)

    def first(self, tokens: Tensor) -> Tensor:
        """CLS of every user: (users, width, hidden) -> (users, hidden)."""
        return tokens[:, 0]

    def mean(self, tokens: Tensor) -> Tensor:
        """The mean over each user's own tokens: (users, width, hidden) -> (users, hidden)."""
        return (tokens * self.real[..., None]).sum(1) / self.lengths[:, None]

    def attend(self, tokens: Tensor, projections: list[nn.Linear], heads: int, rate: float, of_cls: OfCls) -> Tensor:
        """Local attention of all tokens but CLS, whose row is `of_cls`: (users, width, hidden) -> the same shape.

        projections: to queries, keys and values; `rate` of dropout. CLS is asked for last: its dropout is drawn last.
        """
        users, width, hidden = tokens.shape
        query, key, value = (
            projection(tokens).view(users, width, heads, -1).transpose(1, 2) for projection in projections
        )
        if tokens.is_cuda:
            local = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.mask, dropout_p=rate)
        elif banded.pays(width, self.window):
            local = banded.attend(query, key, value, self.band, rate)
        else:
            local = _attend(query, key, value, self.mask, rate)
        local = local.transpose(1, 2).reshape(users, width, hidden)
        return torch.cat([of_cls()[:, None], local[:, 1:]], dim=1)

    def pool(self, tokens: Tensor, folded: Tensor, rate: float) -> tuple[Tensor, Tensor | float]:
        """Means of a user's tokens by the softmax of their products with `folded`, (users, heads, hidden) both.

        Beside them what dropout at `rate` left of the weights' sum, (users, heads, 1) or 1.
        """
        scores = folded @ tokens.transpose(1, 2)
        weights = scores.float().masked_fill(~self.real[:, None], float("-inf")).softmax(-1)
        kept = dropout(weights, rate, training=True)
        return kept.to(tokens.dtype) @ tokens, 1.0 if kept is weights else kept.sum(-1, keepdim=True)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, rate: float) -> Tensor:
    """Softmax attention, (users, heads, tokens, size) each, where `mask` is True, with dropout at `rate`.

    Written out: the backward pass of PyTorch's fused kernel takes five times as long on a CPU in bfloat16.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = dropout(scores.masked_fill(~mask, float("-inf")).softmax(-1), rate, training=True)
    return weights @ value
