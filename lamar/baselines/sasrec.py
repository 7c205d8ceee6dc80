"""SASRec (Kang and McAuley 2018): a causal Transformer over item ids.

Trained with cross-entropy over the whole catalogue at every position, which is stronger than the published binary
cross-entropy with one sampled negative (Klenitskiy and Vasilev 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.encoder import Encoder
from lamar.training.dropout import Dropout

INITIAL_STD = 0.02  # as BERT's: with PyTorch's default of 1 the dot products start far too large


class Sasrec(nn.Module):
    """Items are 0..items-1; the id `items` pads."""

    def __init__(
        self, train: Sequence[np.ndarray], items: int, *, hidden: int, layers: int, heads: int, dropout: float,
        max_items: int, batch: int,
    ) -> None:  # fmt: skip
        """`max_items` is the longest history read, `batch` the windows in a batch."""
        super().__init__()
        self._train = train
        self._batch = batch
        self._items = items
        self._max_items = max_items
        self.item = nn.Embedding(items + 1, hidden, padding_idx=items)
        self.position = nn.Embedding(max_items, hidden)
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(hidden, layers, heads, dropout, causal=True)
        for table in (self.item, self.position):
            nn.init.normal_(table.weight, std=INITIAL_STD)

    def batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Windows of `max_items + 1` items that cover every training sequence, cut anew at random every epoch."""
        windows = [window for items in self._train for window in _windows(items, self._max_items, rng)]
        order = rng.permutation(len(windows))
        return [self._pad([windows[row] for row in rows], self._max_items + 1) for rows in _chunks(order, self._batch)]

    def loss(self, batch: np.ndarray) -> Tensor:
        """Cross-entropy of each next item over all items. `batch` is (windows, items).

        A window's first item is no target: nothing of its window comes before it.
        """
        sequence = torch.from_numpy(batch).to(self.item.weight.device)
        before, targets = sequence[:, :-1], sequence[:, 1:]
        real = before != self._items  # scoring the catalogue at a padding position would be most of its cost
        logits = self._states(before)[real] @ self.item.weight[: self._items].T
        return functional.cross_entropy(logits, targets[real])

    def renew(self) -> None:
        """Scoring reads nothing but the weights."""

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, float32 scores (rows, items)) of what follows each history."""
        self.eval()
        for rows in _chunks(np.arange(len(histories)), 4 * self._batch):  # no gradients: more fit
            padded = self._pad([histories[row] for row in rows], self._max_items)
            last = self._states(torch.from_numpy(padded).to(self.item.weight.device))[:, -1]
            yield rows, (last @ self.item.weight[: self._items].T).float().cpu().numpy()

    def _states(self, sequence: Tensor) -> Tensor:
        """(users, positions) -> (users, positions, hidden); histories end at the right."""
        width = sequence.shape[1]
        places = torch.arange(self._max_items - width, self._max_items, device=sequence.device)
        tokens = self.dropout(self.item(sequence) + self.position(places))
        return self.encoder(tokens, sequence != self._items)

    def _pad(self, sequences: Sequence[np.ndarray], width: int) -> np.ndarray:
        padded = np.full((len(sequences), width), self._items, np.int64)
        for row, items in enumerate(sequences):
            recent = items[-width:]
            padded[row, width - len(recent) :] = recent
        return padded


def _windows(items: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cut a sequence into windows of `size` targets, each with the item before; the first cut is random."""
    if len(items) < 2:
        return
    targets = len(items) - 1
    first = int(rng.integers(1, size + 1)) if targets > size else targets
    bounds = [0, *range(first, targets, size), targets]
    for start, end in zip(bounds, bounds[1:], strict=False):
        yield items[start : end + 1]


def _chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
