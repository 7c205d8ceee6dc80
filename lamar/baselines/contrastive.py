"""UniSRec's pre-training (section 2.2.2): a history is near its next item, and near itself with parts left out.

Both tasks are contrastive: the other rows of a batch are what it should be far from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.sequence import chunks, of_items, padded
from lamar.baselines.unisrec import Unisrec, sharpened_cosines
from lamar.training.examples import draw

# As published (section 3.1.4 and the authors' configuration).
SEQUENCES_WEIGHT = 0.001  # of the sequence-sequence task: lambda
DROPPED = 0.2  # of a history's items, or of its items' words
ITEM_DROP = 0.9  # how often items are dropped rather than words


@dataclass(frozen=True)
class Views:
    """Histories (rows, positions) twice, the second time with parts left out, and their next items (rows,)."""

    histories: np.ndarray
    augmented: np.ndarray
    targets: np.ndarray


class Contrastive(nn.Module):
    """A UniSRec in pre-training. The id `items + 1 + i` is item i with words dropped."""

    def __init__(
        self, model: Unisrec, train: list[np.ndarray], dropped: np.ndarray, *, batch: int, positions_per_user: int
    ) -> None:
        """`dropped`: float32 (items, width), the vectors of the items' texts with words dropped.

        `batch`: histories in a batch; `positions_per_user`: how many of each user's are drawn in an epoch.
        """
        super().__init__()
        self.model = model
        self._train = [items for items in train if len(items) > 1]  # one item is a target without a history
        self._items = len(dropped)
        self._batch = batch
        self._positions_per_user = positions_per_user
        self.register_buffer("dropped", torch.from_numpy(dropped), persistent=False)

    def batches(self, rng: np.random.Generator) -> list[Views]:
        """An epoch: random positions of every user that have a history, in random order."""
        drawn = draw([items[1:] for items in self._train], self._positions_per_user, 1, rng)
        firsts = np.repeat([items[0] for items in self._train], self._positions_per_user)
        histories = [np.append(first, items) for first, items in zip(firsts, drawn.histories, strict=True)]
        order = rng.permutation(len(histories))
        parts = chunks(order, self._batch)
        return [self._views([histories[row] for row in rows], drawn.targets[rows, 0], rng) for rows in parts]

    def loss(self, batch: Views) -> Tensor:
        """The sequence-item loss, and a little of the sequence-sequence loss."""
        histories, augmented, targets = self.model.sent(batch.histories, batch.augmented, batch.targets)
        vectors = torch.cat([self.model.vectors(), self.model.item(self.dropped)])
        histories, augmented = (self.model.states(view, vectors)[:, -1] for view in (histories, augmented))
        near_item = contrast(histories, of_items(vectors, targets), targets)
        return near_item + SEQUENCES_WEIGHT * contrast(histories, augmented, targets)

    def renew(self) -> None:
        """Scoring reads nothing but the weights."""

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """As the model scores before any fine-tuning."""
        return self.model.scores(histories)

    def _views(self, histories: list[np.ndarray], targets: np.ndarray, rng: np.random.Generator) -> Views:
        recent = [items[-self.model.longest :] for items in histories]
        augmented = [augment(items, self._items + 1, rng) for items in recent]
        return Views(*(padded(rows, self.model.longest, self._items) for rows in (recent, augmented)), targets)


def augment(items: np.ndarray, dropped: int, rng: np.random.Generator) -> np.ndarray:
    """A history without some of its items (the first one stays), or `dropped` added to the ids of some."""
    chosen = rng.random(len(items)) < DROPPED
    if rng.random() >= ITEM_DROP:
        return np.where(chosen, items + dropped, items)
    chosen[0] = False
    return items[~chosen]


def contrast(rows: Tensor, columns: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of row i for column i among all columns but those of the same target. Both are (n, hidden).

    (The authors' code counts such a column as a cosine of 0; here it does not count.)
    """
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    others_of_the_same = (targets[:, None] == targets) & ~own
    logits = sharpened_cosines(rows, columns).masked_fill(others_of_the_same, float("-inf"))
    return functional.cross_entropy(logits, torch.arange(len(rows), device=rows.device))
