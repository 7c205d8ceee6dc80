"""Attention in a row of cases, each case by itself: a row costs what its cases cost alone.

With one mask over the whole row, attention would cost the square of the row's length, and most of it for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Seen = tuple[int, Tensor | None]
"""Of a case: its tokens, and which of them its last ones see, bool (last ones, tokens). Those before, and with None
all, see themselves and what is before them."""

BY_CASE = "by_case"


def by_case() -> str:
    """The name by which transformers finds `attend`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(BY_CASE, attend)
    AttentionMaskInterface.register(BY_CASE, sdpa_mask)  # where there are no cases: when an answer is written
    return BY_CASE


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    cases: Sequence[Seen] | None = None, **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' `sdpa` in each case: (1, tokens, heads, width) of states (1, heads, tokens, width)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cases is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    parts = zip(*(states.split([tokens for tokens, _ in cases], dim=2) for states in (query, key, value)), strict=True)
    done = [
        _attend_case(lambda *part: sdpa_attention_forward(module, *part, **options)[0], *part, seen)
        for part, (_, seen) in zip(parts, cases, strict=True)
    ]
    return torch.cat(done, dim=1), None


def _attend_case(
    attention: Callable[..., Tensor], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None
) -> Tensor:
    """What comes before the answers needs no mask, which would cost twice the time of causal attention."""
    if seen is None:
        return attention(query, key, value, None)
    first = query.shape[2] - len(seen)
    before = attention(*(states[:, :, :first] for states in (query, key, value)), None)
    return torch.cat([before, attention(query[:, :, first:], key, value, seen[None, None])], dim=1)
