"""SASRec (Kang and McAuley 2018): a causal Transformer over item ids.

Trained with cross-entropy over the whole catalogue at every position, which is stronger than the published binary
cross-entropy with one sampled negative (Klenitskiy and Vasilev 2023); `LOSSES` has both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.sequence import SequenceModel, Shape, at, chosen


class Sasrec(SequenceModel):
    """An item's vector is looked up by its id."""

    def __init__(self, train: Sequence[np.ndarray], items: int, shape: Shape) -> None:
        """`train`: the users' training sequences of items 0..items-1."""
        super().__init__(train, items, nn.Embedding(items + 1, shape.hidden, padding_idx=items), shape)

    def vectors(self) -> Tensor:
        """(items + 1, hidden)."""
        return self.item.weight


class PublishedSasrec(Sasrec):
    """SASRec with the published loss."""

    def loss(self, batch: np.ndarray) -> Tensor:
        """Binary cross-entropy of each next item against one item drawn from those that are not in the window."""
        real = batch[:, :-1] != self._items
        sequence, places, targets = self.sent(batch, chosen(real), batch[:, 1:][real])
        states = at(self.states(sequence[:, :-1], self.vectors()), places)
        others = self._others(sequence).flatten()[places]
        true, false = ((states * self.item(items)).sum(-1) for items in (targets, others))
        return (functional.softplus(-true) + functional.softplus(false)).mean()

    def _others(self, sequence: Tensor) -> Tensor:
        """Items (windows, positions - 1), uniform over those a window lacks; over all where it lacks none."""
        chances = torch.ones(len(sequence), self._items + 1, device=sequence.device)
        chances.scatter_(1, sequence, 0)
        chances[:, self._items] = 0
        chances[:, : self._items] += chances.sum(1, keepdim=True) == 0
        return torch.multinomial(chances, sequence.shape[1] - 1, replacement=True)


LOSSES: dict[str, type[Sasrec]] = {"cross-entropy": Sasrec, "bce": PublishedSasrec}
