"""What the frozen layers of a Recformer make of texts that are read again and again: computed once, then looked up.

The values are those that would be computed each time: users x places x tokens x hidden x 4 bytes of memory in float32,
as they are on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lamar.recformer.padded import Padded


class Remembered:
    """Hidden states by history. Two histories are one if their `recent` last items are the same."""

    def __init__(self, recent: int, window: int) -> None:
        """`recent`: items of a history that are read at most; `window`: tokens to each side that a token sees."""
        self._recent = recent
        self._window = window
        self._states: dict[bytes, Tensor] = {}

    def add(self, histories: Sequence[np.ndarray], states: Tensor, lengths: Tensor) -> None:
        """Keep the states (histories, tokens, hidden), `lengths` (histories,) in tokens."""
        for history, rows, length in zip(histories, states, lengths, strict=True):
            self._states[self._key(history)] = rows[:length].clone()

    def __bool__(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._states)

    def lacks(self, history: np.ndarray) -> bool:
        """Whether nothing was kept of a history."""
        return self._key(history) not in self._states

    def get(self, histories: Sequence[np.ndarray]) -> tuple[Tensor, Padded] | None:
        """States (histories, tokens, hidden), zero where padded, and how they lie; None if one is lacking."""
        if any(self.lacks(history) for history in histories):
            return None
        found = [self._states[self._key(history)] for history in histories]
        lengths = torch.tensor([len(rows) for rows in found], device=found[0].device)
        states = pad_sequence(found, batch_first=True)
        return states, Padded(lengths, states.shape[1], self._window)

    def _key(self, history: np.ndarray) -> bytes:
        return np.asarray(history[-self._recent :], np.int64).tobytes()
