"""Recformer as a recommender: score every item of the catalogue by its cosine with the user's history.

The two stages of fine-tuning (Recformer, Algorithm 1): in the first, the vectors of all items are encoded anew before
every epoch and are constant within it; in the second, they stay as the best epoch of the first left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar import console
from lamar.errors import LamarError
from lamar.recformer.attention import Layout
from lamar.recformer.model import Recformer
from lamar.recformer.reading import TextBatch, TokenTable
from lamar.recformer.remembered import Remembered
from lamar.text.tokens import Catalogue
from lamar.training.batches import by_length, by_tokens, shuffled, shuffled_by_length
from lamar.training.devices import sent
from lamar.training.examples import NO_ITEM, Examples, draw
from lamar.training.processes import process

TEMPERATURE = 0.05  # Recformer, section 3.1.3
REMEMBERED_BYTES = 4 * 2**30  # a training then stays below 6 GiB; ml-100k takes 1 with ten places
# In a batch when nothing is trained: enough to fill the cores, little memory (on a GPU 1 GiB at the published size).
ENCODING_TOKENS = {"cpu": 16_384, "cuda": 65_536}


@dataclass(frozen=True)
class Read:
    """A batch on the device: histories, and the items that follow each, (users, next items)."""

    text: TextBatch
    targets: Tensor


class RecformerRecommender(nn.Module):
    """A Recformer and the vectors of all items."""

    def __init__(
        self, model: Recformer, catalogue: Catalogue, train: list[np.ndarray], *, cls: int, max_tokens: int,
        batch: int, positions_per_user: int, next_items: int = 1, negatives: int = 0,
    ) -> None:  # fmt: skip
        """`cls` is the tokenizer's id of CLS; `batch`: examples in a training batch; `next_items`: targets of each.

        `negatives`: items that a target is told from, drawn at random; 0: all items.

        Raises LamarError when `max_tokens` is more than the encoder has positions for.
        """
        super().__init__()
        room = model.shape.positions - model.shape.first_position
        if max_tokens > room:
            raise LamarError(f"params.yaml: max_tokens: {max_tokens}, but the backbone reads at most {room}")
        self.model = model
        self.items_are_constant = False
        self.texts = TokenTable(
            catalogue, cls=cls, max_items=model.shape.max_items, max_tokens=max_tokens, window=model.shape.window
        )
        self._train = train
        self._batch = batch
        self._positions_per_user = positions_per_user
        self._next_items = next_items
        self._negatives = negatives
        self._places: Examples | None = None
        self._remembered = Remembered(model.shape.max_items, model.shape.window)
        self.register_buffer("items", torch.zeros(len(catalogue), model.shape.hidden))

    def batches(self, rng: np.random.Generator) -> list[Examples]:
        """An epoch: `positions_per_user` random positions of every user."""
        drawn = self._draw(rng)
        rows = self._shuffled(drawn.histories, rng)
        return [Examples([drawn.histories[row] for row in part], drawn.targets[part]) for part in rows]

    def loss(self, batch: Examples) -> Tensor:
        """Mean cross-entropy of the targets over all items or sampled ones, cosines divided by the temperature.

        The targets of a history share its weight: with one next item this is the published loss.
        """
        mine = process().share(len(batch.targets))
        return self._loss(self._encode(batch.histories[mine]), sent(batch.targets[mine], self.items.device), batch)

    def read(self, batch: Examples) -> Read | None:
        """A whole batch on a GPU, filled up; None for the last one of an epoch, and where states are remembered."""
        if len(batch.targets) != self._batch or self._remembered or not self.texts.packs:
            return None
        return Read(self.texts.packed(batch.histories, fill=True), sent(batch.targets, self.items.device))

    def loss_of(self, read: Read) -> Tensor:
        """As `loss`."""
        return self._loss(self._vectors(self._below(read.text), read.text.layout), read.targets, read)

    def _loss(self, vectors: Tensor, targets: Tensor, batch: Examples | Read) -> Tensor:
        """From unit vectors (users, hidden) and targets (users, next items) of this process's share of a batch."""
        users = len(batch.targets)
        logits = cosines(vectors, self.items) / TEMPERATURE
        real = targets != NO_ITEM
        likely = log_likelihood(logits, targets.clamp(min=0), self._rivals(users)[process().share(users)])
        return -process().gathered((likely * real).sum(1) / real.sum(1), users).mean()

    def parts(self, batch: Examples, rows: int) -> Iterator[tuple[Examples, float]]:
        """A batch in parts of at most `rows` users, each with its share of them; items are sampled part by part."""
        for start in range(0, len(batch.targets), rows):
            targets = batch.targets[start : start + rows]
            yield Examples(batch.histories[start : start + rows], targets), len(targets) / len(batch.targets)

    def heaviest(self, rows: int) -> Examples:
        """The `rows` longest histories there are."""
        longest = np.argsort(-self.texts.lengths(self._train), kind="stable")
        users = np.resize(longest[:rows], rows)
        targets = np.stack([np.resize(self._train[user][-1:], self._next_items) for user in users])
        return Examples([self._train[user] for user in users], targets)

    def _rivals(self, users: int) -> Tensor:
        """Items drawn for each of `users` users to tell their targets from, (users, negatives); none: all items."""
        with process().alike():
            return torch.randint(len(self.items), (users, self._negatives), device=self.items.device)

    def keep_to(self, places: int, further: Sequence[np.ndarray], rng: np.random.Generator) -> None:
        """Train on `places` random positions of every user from now on, and no others.

        What the frozen layers make of their histories, of all items and of `further` histories (those of validation)
        is computed here, once: an epoch then costs what the other layers do. The frozen ones may drop nothing out.

        Where it would take more memory than REMEMBERED_BYTES nothing is remembered: the same numbers, more slowly.
        """
        self._places = draw(self._train, places, self._next_items, rng)
        alone = [np.array([item]) for item in range(len(self.items))]
        known = [*self._places.histories, *alone, *further]
        once = {history[-self.model.shape.max_items :].tobytes(): history for history in known}
        histories = list(once.values())
        if not self._fits(histories):
            return
        self.eval()
        for rows in self._alike(self.texts.lengths(histories)):
            part = [histories[row] for row in rows]
            text = self.texts.padded(part)
            self._remembered.add(part, self._below(text), text.layout.lengths)

    def _fits(self, histories: Sequence[np.ndarray]) -> bool:
        needed = int(self.texts.lengths(histories).sum()) * self.model.shape.hidden * torch.float32.itemsize
        if needed > REMEMBERED_BYTES:
            size, room = needed / 2**30, REMEMBERED_BYTES / 2**30
            console.say(f"places_per_user: remembering takes {size:.1f} GiB, more than {room:.0f}; epochs are slower")
        return needed <= REMEMBERED_BYTES

    def _draw(self, rng: np.random.Generator) -> Examples:
        if self._places is None:
            return draw(self._train, self._positions_per_user, self._next_items, rng)
        by_user = np.arange(len(self._places.histories)).reshape(len(self._train), -1)
        rows = rng.permuted(by_user, axis=1)[:, : self._positions_per_user].ravel()
        return Examples([self._places.histories[row] for row in rows], self._places.targets[rows])

    def renew(self) -> None:
        """Encode every item alone, as a history of one; nothing in the second stage."""
        if self.items_are_constant:
            return
        self.eval()
        mine = process().share(len(self.items))
        own = self.items[mine]
        for rows, vectors in self._encode_all([np.array([item]) for item in range(len(self.items))[mine]]):
            own[sent(rows, own.device)] = vectors
        self.items.copy_(process().gathered(own, len(self.items)))

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (rows, scores): indices into `histories` and float32 cosines (rows, items)."""
        self.eval()
        for rows, vectors in self._encode_all(histories):
            yield rows, cosines(vectors, self.items)

    def _encode_all(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        for rows in self._rows(histories):
            yield rows, self._encode([histories[row] for row in rows])

    def _rows(self, histories: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Row numbers in batches, when nothing is trained; padded ones are of similar length."""
        lengths = self.texts.lengths(histories)
        packed = self.texts.packs and not self._remembered
        return by_tokens(lengths, self._tokens) if packed else self._alike(lengths)

    def _alike(self, lengths: np.ndarray) -> Iterator[np.ndarray]:
        return by_length(lengths, max(1, self._tokens // int(lengths.max())))

    @property
    def _tokens(self) -> int:
        return ENCODING_TOKENS[self.items.device.type]

    def _shuffled(self, histories: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Row numbers in training batches; packed ones need not be of similar length."""
        if self.texts.packs and not self._remembered:
            return shuffled(len(histories), self._batch, rng)
        return shuffled_by_length(self.texts.lengths(histories), self._batch, rng)

    def _encode(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors (users, hidden) of histories (items, oldest first)."""
        found = self._remembered.get(histories)
        if found is None:
            text = self.texts.read(histories)
            found = self._below(text), text.layout
        return self._vectors(*found)

    def _below(self, text: TextBatch) -> Tensor:
        """What the frozen layers make of histories, (..., hidden)."""
        return self.model.below(text, self.model.frozen_layers)

    def _vectors(self, states: Tensor, layout: Layout) -> Tensor:
        """Unit vectors (users, hidden), of what `_below` gives."""
        vectors = self.model.above(states, layout, self.model.frozen_layers)
        return functional.normalize(vectors.float(), dim=-1)


def cosines(users: Tensor, items: Tensor) -> Tensor:
    """Of unit vectors (users, hidden) and (items, hidden): float32 (users, items), whatever the run's precision.

    In bfloat16 four of five targets would share their score with other items (recformer-notes item 8).
    """
    with torch.autocast(users.device.type, enabled=False):
        return users @ items.T


def log_likelihood(logits: Tensor, targets: Tensor, rivals: Tensor) -> Tensor:
    """Of the targets (users, next items) by logits (users, items): among `rivals` and itself, or among all items.

    rivals: (users, negatives) items, drawn uniformly with replacement; (users, 0): all items. As published, neither the
    targets nor the history are left out and nothing corrects for it (recformer-notes item 13). One matrix product with
    all items costs less than gathering the vectors of a thousand for every user.
    """
    if not rivals.shape[1]:
        return functional.log_softmax(logits, dim=-1).gather(1, targets)
    own = logits.gather(1, targets)
    return own - torch.logaddexp(own, logits.gather(1, rivals).logsumexp(1, keepdim=True))
