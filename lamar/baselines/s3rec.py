"""S3-Rec (Zhou et al. 2020): a SASRec pre-trained to tell which items, attributes and segments belong together.

The four objectives are those of the authors' code, which bound mutual information from below (section 4): a place's
attributes, with its item seen or masked, the item of a masked place, and the segment that a gap was cut from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.sequence import INITIAL_STD, SequenceModel, Shape, at, chosen, chunks, of_items, padded, windows
from lamar.params import S3recWeights

OBJECTIVES = ("attributes", "masked_items", "masked_attributes", "segments")  # each has a projection of its own


@dataclass(frozen=True)
class Views:
    """Windows (windows, positions) as they are, and what is asked about them, all of the same shape.

    hidden: bool, which places are masked and guessed; wrong: for each place an item that its window lacks. context: a
    window with a segment masked; segment: that segment alone; other: another segment in its place.
    """

    items: np.ndarray
    hidden: np.ndarray
    wrong: np.ndarray
    context: np.ndarray
    segment: np.ndarray
    other: np.ndarray


class S3rec(SequenceModel):
    """A SASRec in pre-training, which sees both sides. Items are 0..items-1; `items` pads, `items + 1` is the mask."""

    def __init__(
        self,
        train: Sequence[np.ndarray],
        attributes: np.ndarray,
        shape: Shape,
        *,
        mask_share: float,
        weights: S3recWeights,
    ) -> None:
        """`attributes`: bool (items, attributes), which item has which; `mask_share`: of the items of a window."""
        items, count = attributes.shape
        super().__init__(train, items, nn.Embedding(items + 1, shape.hidden, padding_idx=items), shape, causal=False)
        self._mask = items + 1
        self._mask_share = mask_share
        self._weights = weights
        self.mask = nn.Parameter(torch.empty(1, shape.hidden).normal_(std=INITIAL_STD))
        self.attribute = nn.Parameter(torch.empty(count, shape.hidden).normal_(std=INITIAL_STD))
        self.projection = nn.ModuleDict({name: nn.Linear(shape.hidden, shape.hidden) for name in OBJECTIVES})
        self.register_buffer("attributes", torch.from_numpy(attributes), persistent=False)

    def vectors(self) -> Tensor:
        """(items + 2, hidden)."""
        return torch.cat([self.item.weight, self.mask])

    def logits(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Scores (rows, items) of all items at masked places, as masked item prediction compares them."""
        return super().logits(self.projection["masked_items"](states), vectors)

    def batches(self, rng: np.random.Generator) -> list[Views]:
        """Windows of `max_items` items that cover every training sequence, cut and masked anew every epoch."""
        cut = [window for items in self._train for window in windows(items, self._shape.max_items - 1, rng)]
        everything = np.concatenate(self._train)
        order = rng.permutation(len(cut))
        return [self._views([cut[row] for row in rows], everything, rng) for rows in chunks(order, self._shape.batch)]

    def loss(self, batch: Views) -> Tensor:
        """The four losses for one window: as published they are sums over places and attributes, which are weighed."""
        losses, weights = self.losses(batch), self._weights
        weighed = (
            weights.attributes * losses["attributes"]
            + weights.masked_items * losses["masked_items"]
            + weights.masked_attributes * losses["masked_attributes"]
            + weights.segments * losses["segments"]
        )
        return weighed / len(batch.items)

    def losses(self, batch: Views) -> dict[str, Tensor]:
        """The sum of each objective over a batch, by its name."""
        items, hidden = batch.items, batch.hidden
        seen = (items != self._items) & ~hidden
        views = np.concatenate([np.where(hidden, self._mask, items), batch.context, batch.segment, batch.other])
        asked = (chosen(hidden), items[hidden], batch.wrong[hidden], chosen(seen), items[seen])
        views, hidden_places, right, wrong, seen_places, known = self.sent(views, *asked)
        vectors = self.vectors()
        masked, *ends = self.states(views, vectors).chunk(4)
        context, segment, other = (view[:, -1] for view in ends)
        guessed = at(masked, hidden_places)
        guess, gap = self.projection["masked_items"](guessed), self.projection["segments"](context)
        return {
            "attributes": self._attribute_loss("attributes", at(masked, seen_places), known),
            "masked_items": told_apart(guess, of_items(vectors, right), of_items(vectors, wrong)),
            "masked_attributes": self._attribute_loss("masked_attributes", guessed, right),
            "segments": told_apart(gap, segment, other),
        }

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (rows, float32 scores (rows, items)) of what is masked behind each history."""
        return super().scores([np.append(items, self._mask) for items in histories])

    def _attribute_loss(self, objective: str, states: Tensor, items: Tensor) -> Tensor:
        """Binary cross-entropy of every attribute of `items` (places,), from `states` (places, hidden)."""
        logits = self.projection[objective](states) @ self.attribute.T
        return functional.binary_cross_entropy_with_logits(logits, self.attributes[items].float(), reduction="sum")

    def _views(self, cut: list[np.ndarray], everything: np.ndarray, rng: np.random.Generator) -> Views:
        wrong = [wrong_items(window, self._items, rng) for window in cut]
        segments = zip(*(segmented(window, everything, self._mask, rng) for window in cut), strict=True)
        items, wrong, *segments = (
            padded(views, self._shape.max_items, self._items) for views in (cut, wrong, *segments)
        )
        hidden = (items != self._items) & (rng.random(items.shape) < self._mask_share)
        hidden[:, -1] = True  # as every history has it when it is ranked
        return Views(items, hidden, wrong, *segments)


def told_apart(states: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Sum of -log sigmoid(s(right) - s(wrong)), s being the sigmoid of a dot product. All are (rows, hidden)."""
    good, bad = ((states * vectors).sum(-1).sigmoid() for vectors in (right, wrong))
    return functional.softplus(bad - good).sum()


def wrong_items(window: np.ndarray, items: int, rng: np.random.Generator) -> np.ndarray:
    """As many of the items 0..items-1 as a window has, uniform over those it lacks; over all where it lacks none."""
    lacked = np.delete(np.arange(items), window)
    return rng.choice(lacked if len(lacked) else items, size=len(window))


def segmented(
    window: np.ndarray, everything: np.ndarray, mask: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A window without a random segment, at most half of it; the segment alone; and one of `everything` in its place.

    `mask` stands where nothing is left.
    """
    length = rng.integers(1, len(window) // 2, endpoint=True)
    start, other_start = (rng.integers(len(items) - length, endpoint=True) for items in (window, everything))
    inside = np.zeros(len(window), bool)
    inside[start : start + length] = True
    other = np.full(len(window), mask)
    other[inside] = everything[other_start : other_start + length]
    return np.where(inside, mask, window), np.where(inside, window, mask), other
