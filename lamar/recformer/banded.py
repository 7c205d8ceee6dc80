"""Attention to a window, computed for the window alone: a block of tokens at a time, with what is before and after it.

A block is as wide as the window to one side, so that its tokens see three blocks and CLS: of 256 tokens with the
published window 97 keys instead of 256.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lamar.training.dropout import dropout

BLOCKS = 4  # that a history has where this pays: its tokens see three, and cutting those out takes time, too


def pays(width: int, window: int) -> bool:
    """Whether histories of `width` tokens are read faster so than with all pairs under a mask."""
    return width >= BLOCKS * window


def band_mask(lengths: Tensor, width: int, window: int) -> Tensor:
    """Which keys of its blocks a token sees: bool (users, 1, blocks, window, 1 + 3 * window), CLS first.

    From lengths (users,) in tokens. A padding row sees CLS alone, so that its softmax is defined.
    """
    blocks = -(-width // window)
    rows = torch.arange(blocks * window, device=lengths.device).view(blocks, window, 1)
    keys = rows[:, :1] + torch.arange(-window, 2 * window, device=lengths.device)
    near = ((rows - keys).abs() <= window) & (keys > 0)
    seen = near & (torch.maximum(rows, keys) < lengths.view(-1, 1, 1, 1))
    return functional.pad(seen, (1, 0), value=True)[:, None]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, rate: float) -> Tensor:
    """Softmax attention where `band_mask` is True, with dropout at `rate`: (users, heads, tokens, size) each."""
    users, heads, width, size = query.shape
    blocks, window = mask.shape[2:4]
    scaled = functional.pad(query * size**-0.5, (0, 0, 0, blocks * window - width))
    scores = scaled.view(users, heads, blocks, window, size) @ _around(key, blocks, window).transpose(-1, -2)
    weights = dropout(scores.masked_fill_(~mask, float("-inf")).softmax(-1), rate, training=True)
    return (weights @ _around(value, blocks, window)).view(users, heads, -1, size)[:, :, :width]


def _around(states: Tensor, blocks: int, window: int) -> Tensor:
    """What the tokens of every block may see: CLS, the block before, their own and the one after.

    (users, heads, tokens, size) -> (users, heads, blocks, 1 + 3 * window, size).
    """
    users, heads, width, size = states.shape
    padded = functional.pad(states, (0, 0, window, (blocks + 1) * window - width))
    cut = padded.view(users, heads, blocks + 2, window, size)
    cls = states[:, :, None, :1].expand(-1, -1, blocks, -1, -1)
    return torch.cat([cls, cut[:, :, :-2], cut[:, :, 1:-1], cut[:, :, 2:]], dim=3)
