"""Histories as batches of tokens, put together on the device that reads them.

The tokens of the whole catalogue lie there once; a batch brings the numbers of its items and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lamar.recformer.padded import Padded
from lamar.text.tokens import CLS, PAD, Catalogue
from lamar.training.devices import sent

if TYPE_CHECKING:
    from lamar.recformer.packed import Packed

WIDEST = 32  # window to each side, the published one, for which a block of keys has room in shared memory


@dataclass(frozen=True)
class TextBatch:
    """Histories as tokens that lie as `layout` says: ids, token types, item positions.

    Item positions: 0 is CLS, 1 the most recent item, and so on. `starts`: whether a token begins a word; CLS is none.
    """

    ids: Tensor
    types: Tensor
    items: Tensor
    starts: Tensor
    layout: Padded | Packed

    def rows(self, users: slice) -> TextBatch:
        """Some of the users of a padded batch, as wide."""
        tables = (self.ids, self.types, self.items, self.starts)
        return TextBatch(*(table[users] for table in tables), self.layout.rows(users))


@dataclass(frozen=True)
class _Items:
    """The items of a batch of histories, one history after the other, newest first; all (items,).

    rows: which history; positions: the newest is 1; columns: where an item's text begins; tokens: how many are read.
    """

    numbers: np.ndarray
    rows: np.ndarray
    positions: np.ndarray
    columns: np.ndarray
    tokens: np.ndarray


class TokenTable(nn.Module):
    """Reads histories: CLS, then the items, most recent first (recformer-notes items 1 and 2).

    At most `max_items` items and `max_tokens` tokens including CLS: the oldest item is cut in its middle.
    """

    def __init__(self, catalogue: Catalogue, *, cls: int, max_items: int, max_tokens: int, window: int) -> None:
        """`cls` is the tokenizer's id of CLS; `window`: tokens to each side that a token sees.

        The tables are no weights: they are not saved.
        """
        super().__init__()
        self._cls = cls
        self._max_items = max_items
        self._max_tokens = max_tokens
        self._window = window
        self._sizes = np.diff(catalogue.offsets)
        for name in ("tokens", "types", "starts", "offsets"):
            self.register_buffer(name, torch.from_numpy(getattr(catalogue, name)), persistent=False)

    def lengths(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens of each history as it will be read, CLS included, (users,)."""
        return self._lengths(self._items(histories), len(histories))

    def read(self, histories: Sequence[np.ndarray]) -> TextBatch:
        """Histories (items, oldest first) as tokens, packed where kernels read them so, padded elsewhere."""
        return self.packed(histories) if self.packs else self.padded(histories)

    @property
    def packs(self) -> bool:
        """Whether histories are read packed: by Triton's kernels, on a GPU."""
        return self.tokens.is_cuda and self._window <= WIDEST and find_spec("triton") is not None

    def padded(self, histories: Sequence[np.ndarray]) -> TextBatch:
        """As `read`: tensors are (users, tokens), padded at the end."""
        items = self._items(histories)
        lengths = self._lengths(items, len(histories))
        width = int(lengths.max())
        layout = Padded(sent(lengths, self.tokens.device), width, self._window)
        starts = np.arange(len(histories)) * width
        return TextBatch(*(table.view(-1, width) for table in self._filled(items, starts, starts[-1] + width)), layout)

    def packed(self, histories: Sequence[np.ndarray], fill: bool = False) -> TextBatch:
        """As `read`: tensors are (tokens,), one history after the other.

        With `fill` they are as long as `filled` says. What fills them up belongs to no user: every such token is a CLS
        of its own.
        """
        from lamar.recformer.packed import Packed

        items = self._items(histories)
        lengths = self._lengths(items, len(histories))
        starts, total = lengths.cumsum() - lengths, int(lengths.sum())
        size = filled(total) if fill else total
        short, begins = sent(np.stack([lengths, starts]).astype(np.int32), self.tokens.device)
        bounds = torch.arange(size, device=begins.device, dtype=torch.int32).repeat(2, 1)
        ends = torch.stack([begins, begins + short - 1])
        bounds[:, :total] = torch.repeat_interleave(ends, short, dim=1, output_size=total)
        return TextBatch(*self._filled(items, starts, size), Packed(short, begins, *bounds, self._window))

    def _filled(self, items: _Items, starts: np.ndarray, size: int) -> list[Tensor]:
        """Ids, types, item positions and starts of words, (size,) each: `starts` (users,) are the places of CLS."""
        device = self.tokens.device
        brought = np.stack([items.numbers, starts[items.rows] + items.columns, items.positions, items.tokens])
        numbers, begins, positions, tokens = sent(brought, device)
        first = sent(starts, device)
        # every token: which of the items above it belongs to, and its place in the item's text
        of = torch.repeat_interleave(tokens, output_size=int(items.tokens.sum()))
        within = torch.arange(len(of), device=device) - (tokens.cumsum(0) - tokens)[of]
        source, target = self.offsets[numbers][of] + within, begins[of] + within

        def table_of(cls: int, padding: int, values: Tensor) -> Tensor:
            table = torch.full((size,), padding, dtype=values.dtype, device=device)
            table[first] = cls
            table[target] = values
            return table

        return [
            table_of(self._cls, 0, self.tokens[source]),
            table_of(CLS, PAD, self.types[source]),
            table_of(0, 0, positions[of]),
            table_of(False, False, self.starts[source]),
        ]

    def _items(self, histories: Sequence[np.ndarray]) -> _Items:
        recent = [np.asarray(history, np.int64)[-self._max_items :][::-1] for history in histories]
        counts = np.array([len(items) for items in recent])
        numbers = np.concatenate(recent)
        rows = np.repeat(np.arange(len(recent)), counts)
        positions = np.arange(len(numbers)) - np.repeat(counts.cumsum() - counts, counts)
        sizes = self._sizes[numbers]
        before = sizes.cumsum() - sizes
        columns = 1 + before - np.repeat(before[positions == 0], counts[counts > 0])
        read = np.clip(self._max_tokens - columns, 0, sizes)
        return _Items(numbers, rows, positions + 1, columns, read)

    @staticmethod
    def _lengths(items: _Items, users: int) -> np.ndarray:
        return 1 + np.bincount(items.rows, items.tokens, users).astype(np.int64)


def filled(tokens: int) -> int:
    """The next of 16 sizes between two powers of two: shapes of batches come again, for some 2% more tokens."""
    step = 1 << max(0, tokens.bit_length() - 5)
    return -(-tokens // step) * step
