"""Recformer as a recommender: score every item of the catalogue by its cosine with the user's history.

The two stages of fine-tuning (Recformer, Algorithm 1): in the first, the vectors of all items are encoded anew before
every epoch and are constant within it; in the second, they stay as the best epoch of the first left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.errors import LamarError
from lamar.recformer.model import Recformer
from lamar.text.tokens import Catalogue, TextBatch, batch_of
from lamar.training.batches import by_length, shuffled_by_length
from lamar.training.examples import NO_ITEM, Examples, draw

TEMPERATURE = 0.05  # Recformer, section 3.1.3
ENCODING_TOKENS = 16_384  # in a batch when nothing is trained: enough to fill the cores, little memory


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
        self._catalogue = catalogue
        self._train = train
        self._cls = cls
        self._max_tokens = max_tokens
        self._batch = batch
        self._positions_per_user = positions_per_user
        self._next_items = next_items
        self._negatives = negatives
        self.register_buffer("items", torch.zeros(len(catalogue), model.shape.hidden))

    def batches(self, rng: np.random.Generator) -> list[Examples]:
        """An epoch: `positions_per_user` random positions of every user."""
        drawn = draw(self._train, self._positions_per_user, self._next_items, rng)
        rows = shuffled_by_length(self._lengths(drawn.histories), self._batch, rng)
        return [Examples([drawn.histories[row] for row in part], drawn.targets[part]) for part in rows]

    def loss(self, batch: Examples) -> Tensor:
        """Mean cross-entropy of the targets over all items or sampled ones, cosines divided by the temperature.

        The targets of a history share its weight: with one next item this is the published loss.
        """
        logits = cosines(self._encode(batch.histories), self.items) / TEMPERATURE
        targets = torch.from_numpy(batch.targets).to(logits.device)
        real = targets != NO_ITEM
        likely = log_likelihood(logits, targets.clamp(min=0), self._negatives)
        return -((likely * real).sum(1) / real.sum(1)).mean()

    def renew(self) -> None:
        """Encode every item alone, as a history of one; nothing in the second stage."""
        if self.items_are_constant:
            return
        self.eval()
        alone = [np.array([item]) for item in range(len(self._catalogue))]
        for rows, vectors in self._encode_all(alone):
            self.items[torch.from_numpy(rows).to(self.items.device)] = vectors

    def scores(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, scores): indices into `histories` and float32 cosines (rows, items)."""
        self.eval()
        for rows, vectors in self._encode_all(histories):
            yield rows, cosines(vectors, self.items).cpu().numpy()

    def _encode_all(self, histories: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        lengths = self._lengths(histories)
        for rows in by_length(lengths, max(1, ENCODING_TOKENS // int(lengths.max()))):
            yield rows, self._encode([histories[row] for row in rows])

    def _encode(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors (users, hidden) of histories (items, oldest first)."""
        text = self._read(histories)
        arrays = (text.ids, text.types, text.items, text.lengths)
        vectors = self.model(*(torch.from_numpy(array).to(self.items.device) for array in arrays))
        return functional.normalize(vectors.float(), dim=-1)

    def _read(self, histories: Sequence[np.ndarray]) -> TextBatch:
        return batch_of(histories, self._catalogue, self._cls, self.model.shape.max_items, self._max_tokens)

    def _lengths(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens of each history as it will be read, CLS included."""
        sizes = np.diff(self._catalogue.offsets)
        recent = self.model.shape.max_items
        return np.array([min(1 + int(sizes[history[-recent:]].sum()), self._max_tokens) for history in histories])


def cosines(users: Tensor, items: Tensor) -> Tensor:
    """Of unit vectors (users, hidden) and (items, hidden): float32 (users, items), whatever the run's precision.

    In bfloat16 four of five targets would share their score with other items (recformer-notes item 8).
    """
    with torch.autocast(users.device.type, enabled=False):
        return users @ items.T


def log_likelihood(logits: Tensor, targets: Tensor, negatives: int) -> Tensor:
    """Of the targets (users, next items) by logits (users, items): among all items, or among `negatives` and itself.

    Negatives are drawn uniformly with replacement for every user; as published, neither the targets nor the history are
    left out and nothing corrects for it (recformer-notes item 13). One matrix product with all items costs less than
    gathering the vectors of a thousand for every user.
    """
    if not negatives:
        return functional.log_softmax(logits, dim=-1).gather(1, targets)
    drawn = torch.randint(logits.shape[1], (len(targets), negatives), device=logits.device)
    own = logits.gather(1, targets)
    return own - torch.logaddexp(own, logits.gather(1, drawn).logsumexp(1, keepdim=True))
