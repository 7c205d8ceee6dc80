"""Words hidden from a text encoder, which learns to say them (Devlin et al. 2019, whole words)."""

from __future__ import annotations

import torch
from torch import Tensor

HIDDEN, EXCHANGED = 0.8, 0.1  # of the chosen words; the others stay as they are, but are asked for, too


def mask_words(ids: Tensor, starts: Tensor, mask: int, vocabulary: int, share: float) -> tuple[Tensor, Tensor]:
    """Choose words at random; of them 80% become `mask` and 10% random tokens, every token of a word alike.

    ids: (users, tokens); starts: bool, whether a token begins a word; what stands before a row's first word, CLS, is
    never chosen. Each word is chosen with probability `share`. Returns the ids to read and which tokens are asked for
    (bool), padding among them.
    """
    word = starts.long().cumsum(1)
    chance, fate = torch.rand(2, len(ids), ids.shape[1] + 1, device=ids.device)
    chosen = (chance.gather(1, word) < share) & (word > 0)
    fate = fate.gather(1, word)
    exchanged = torch.randint(vocabulary, ids.shape, device=ids.device)
    read = torch.where(chosen & (fate < HIDDEN), mask, ids)
    return torch.where(chosen & (fate >= HIDDEN) & (fate < HIDDEN + EXCHANGED), exchanged, read), chosen
