"""An attention cache that begins with a prefix shared by all rows and never moves what it holds.

transformers' dynamic cache concatenates at every token, which copies the whole cache each time (17% of the time of
answering on a CPU); here room for the answer is set aside at the start and tokens are written in place.
"""

from __future__ import annotations

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer, each (rows, heads, tokens, width)."""


class RoomyLayer(DynamicLayer):
    """One layer's keys and values with room for more tokens."""

    def __init__(self, prefix: KeysValues, rows: int, room: int) -> None:
        """Copy the prefix (1 row) into `rows` rows and set aside `room` further tokens."""
        super().__init__()
        self.lazy_initialization(*prefix)
        self._buffers = [_with_room(tensor, rows, room) for tensor in prefix]
        self._show(prefix[0].shape[2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> KeysValues:
        """Append (rows, heads, new tokens, width) in place; return everything held so far."""
        end = self._length + key_states.shape[2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._length : end] = states
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows."""
        self._buffers = [buffer.index_select(0, indices) for buffer in self._buffers]
        self._show(self._length)

    def _show(self, length: int) -> None:
        self._length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


def _with_room(tensor: torch.Tensor, rows: int, room: int) -> torch.Tensor:
    _, heads, length, width = tensor.shape
    buffer = tensor.new_empty(rows, heads, length + room, width)
    buffer[:, :, :length] = tensor
    return buffer


def shared_prefix(prefix: list[KeysValues], rows: int, room: int) -> DynamicCache:
    """A cache of `rows` rows that all begin with `prefix` (one entry a layer), with room for `room` tokens."""
    cache = DynamicCache()
    cache.layers = [RoomyLayer(layer, rows, room) for layer in prefix]
    return cache
