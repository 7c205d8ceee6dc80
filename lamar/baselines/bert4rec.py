"""BERT4Rec (Sun et al. 2019): a Transformer that sees both sides and guesses masked items.

Half of the windows have their last item masked and no other, as every history has when it is ranked: the fine-tuning
examples of RecBole and of the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.sequence import SequenceModel, Shape, at, chosen, chunks, padded, windows


@dataclass(frozen=True)
class Masked:
    """Windows (windows, items) and which of their items are hidden and guessed, bool of the same shape."""

    items: np.ndarray
    hidden: np.ndarray


class Bert4rec(SequenceModel):
    """Items are 0..items-1; the id `items` pads, `items + 1` is the mask."""

    def __init__(
        self, train: Sequence[np.ndarray], items: int, shape: Shape, *, mask_share: float, last_share: float
    ) -> None:
        """`mask_share`: of the items of a window; `last_share`: of the windows, those with the last masked alone."""
        embedding = nn.Embedding(items + 2, shape.hidden, padding_idx=items)
        super().__init__(train, items, embedding, shape, causal=False)
        self._mask = items + 1
        self._mask_share = mask_share
        self._last_share = last_share
        self.projection = nn.Linear(shape.hidden, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden)
        self.bias = nn.Parameter(torch.zeros(items))

    def vectors(self) -> Tensor:
        """(items + 2, hidden)."""
        return self.item.weight

    def logits(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Scores (rows, items) through the projection of BERT's head and an item's own bias (section 3.5)."""
        return super().logits(self.norm(functional.gelu(self.projection(states))), vectors) + self.bias

    def batches(self, rng: np.random.Generator) -> list[Masked]:
        """Windows of `max_items` items that cover every training sequence, cut and masked anew every epoch."""
        width = self._shape.max_items
        cut = [window for items in self._train for window in windows(items, width - 1, rng)]
        order = rng.permutation(len(cut))
        parts = [padded([cut[row] for row in rows], width, self._items) for rows in chunks(order, self._shape.batch)]
        return [Masked(items, self._hidden(items, rng)) for items in parts]

    def loss(self, batch: Masked) -> Tensor:
        """Cross-entropy over all items at the masked positions."""
        masked = np.where(batch.hidden, self._mask, batch.items)
        items, places, targets = self.sent(masked, chosen(batch.hidden), batch.items[batch.hidden])
        vectors = self.vectors()
        states = at(self.states(items, vectors), places)
        return functional.cross_entropy(self.logits(states, vectors), targets)

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (rows, float32 scores (rows, items)) of what is masked behind each history."""
        return super().scores([np.append(items, self._mask) for items in histories])

    def _hidden(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What is masked of padded windows: at least one item of each, and the last where chance gives none."""
        hidden = (items != self._items) & (rng.random(items.shape) < self._mask_share)
        last_alone = (rng.random(len(items)) < self._last_share) | ~hidden.any(1)
        hidden[last_alone] = False
        hidden[last_alone, -1] = True
        return hidden
