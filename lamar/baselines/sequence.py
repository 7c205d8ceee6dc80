"""What the models of item sequences share: windows of histories, and the Transformer over the vectors of their items.

Trained with cross-entropy over the whole catalogue at every position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.encoder import Encoder
from lamar.training.batches import by_length
from lamar.training.devices import sent
from lamar.training.dropout import Dropout

INITIAL_STD = 0.02  # as BERT's: with PyTorch's default of 1 the dot products start far too large


@dataclass(frozen=True)
class Shape:
    """Of the Transformer; `max_items` is the longest history read, `batch` the windows in a batch."""

    hidden: int
    layers: int
    heads: int
    dropout: float
    max_items: int
    batch: int


class SequenceModel(nn.Module):
    """Items are 0..items-1; the id `items` pads. A model says which vectors its items have, and how they are scored."""

    def __init__(
        self, train: Sequence[np.ndarray], items: int, item: nn.Module, shape: Shape, *, causal: bool = True
    ) -> None:
        """`item` makes the items' vectors; with `causal` a position sees none after it."""
        super().__init__()
        self._train = train
        self._items = items
        self._shape = shape
        self.item = item
        self.position = nn.Embedding(shape.max_items, shape.hidden)
        self.dropout = Dropout(shape.dropout)
        self.encoder = Encoder(shape.hidden, shape.layers, shape.heads, shape.dropout, causal=causal)
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=INITIAL_STD)

    def vectors(self) -> Tensor:
        """(ids, hidden): one row for each item, one for padding, and any further tokens of the model."""
        raise NotImplementedError

    def logits(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Scores (rows, items) of all items from states (rows, hidden) and `vectors`."""
        return states @ vectors[: self._items].T

    def batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Windows of `max_items + 1` items that cover every training sequence, cut anew at random every epoch."""
        cut = [window for items in self._train for window in windows(items, self._shape.max_items, rng)]
        order = rng.permutation(len(cut))  # batches of similar length would weigh the targets of short windows more
        width = self._shape.max_items + 1
        return [padded([cut[row] for row in rows], width, self._items) for rows in chunks(order, self._shape.batch)]

    def loss(self, batch: np.ndarray) -> Tensor:
        """Cross-entropy of each next item over all items. `batch` is (windows, items).

        A window's first item is no target: nothing of its window comes before it.
        """
        real = batch[:, :-1] != self._items  # scoring the catalogue at a padding position would be most of its cost
        before, places, targets = self.sent(batch[:, :-1], chosen(real), batch[:, 1:][real])
        vectors = self.vectors()
        states = at(self.states(before, vectors), places)
        return functional.cross_entropy(self.logits(states, vectors), targets)

    def renew(self) -> None:
        """Scoring reads nothing but the weights."""

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (rows, float32 scores (rows, items)) of what follows each history."""
        self.eval()
        vectors = self.vectors().float()
        for rows in by_length(lengths(histories), 4 * self._shape.batch):  # no gradients: more fit
            sequence = padded([histories[row] for row in rows], self._shape.max_items, self._items)
            last = self.states(*self.sent(sequence), vectors)[:, -1]
            with torch.autocast(last.device.type, enabled=False):  # in bfloat16 many items would tie
                scored = self.logits(last.float(), vectors)
            yield rows, scored

    def states(self, sequence: Tensor, vectors: Tensor) -> Tensor:
        """Ids (users, positions), histories at the right, and the `vectors` they name -> (users, positions, hidden)."""
        width, longest = sequence.shape[1], self._shape.max_items
        places = torch.arange(longest - width, longest, device=sequence.device)
        tokens = functional.embedding(sequence, vectors, padding_idx=self._items) + self.position(places)
        return self.encoder(self.dropout(tokens), sequence != self._items)

    def sent(self, *arrays: np.ndarray) -> tuple[Tensor, ...]:
        """Arrays as tensors where the weights are."""
        return tuple(sent(np.ascontiguousarray(array), self.device) for array in arrays)

    @property
    def longest(self) -> int:
        """Items of the longest history that is read."""
        return self._shape.max_items

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.position.weight.device


def chosen(places: np.ndarray) -> np.ndarray:
    """Where a bool array is true, as `at` takes it. Counted here: a GPU would have to be awaited."""
    return np.flatnonzero(places)


def at(states: Tensor, places: Tensor) -> Tensor:
    """The states (places, hidden) of chosen places, out of (rows, positions, hidden)."""
    return states.flatten(0, 1).index_select(0, places)


def of_items(vectors: Tensor, items: Tensor) -> Tensor:
    """The vectors of items (any shape), out of (items, hidden): (*items.shape, hidden).

    Indexing would give the same. But on a CPU its gradient is added up by several threads in any order, so that a seed
    did not give the same weights every time.
    """
    return functional.embedding(items, vectors)


def windows(items: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cut a sequence into windows of `size` targets, each with the item before; the first cut is random."""
    if len(items) < 2:
        return
    targets = len(items) - 1
    first = int(rng.integers(1, size + 1)) if targets > size else targets
    bounds = [0, *range(first, targets, size), targets]
    for start, end in zip(bounds, bounds[1:], strict=False):
        yield items[start : end + 1]


def lengths(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Of each sequence, (sequences,)."""
    return np.array([len(items) for items in sequences], np.int64)


def padded(sequences: Sequence[np.ndarray], width: int, pad: int) -> np.ndarray:
    """The last `width` items of each sequence, int64, with `pad` before shorter ones: as wide as the longest needs."""
    width = max(1, min(width, lengths(sequences).max()))
    table = np.full((len(sequences), width), pad, np.int64)
    for row, items in enumerate(sequences):
        recent = items[-width:]
        table[row, width - len(recent) :] = recent
    return table


def chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield `rows`, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
