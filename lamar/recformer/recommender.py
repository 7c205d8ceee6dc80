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
from lamar.training.examples import Split, draw

TEMPERATURE = 0.05  # Recformer, section 3.1.3
ENCODING_TOKENS = 16_384  # in a batch when nothing is trained: enough to fill the cores, little memory


class RecformerRecommender(nn.Module):
    """A Recformer and the vectors of all items."""

    def __init__(
        self, model: Recformer, catalogue: Catalogue, train: list[np.ndarray], *, cls: int, max_tokens: int,
        batch: int, positions_per_user: int, negatives: int = 0,
    ) -> None:  # fmt: skip
        """`cls` is the tokenizer's id of CLS; `batch` the examples in a training batch; `negatives` 0: all items.

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
        self._negatives = negatives
        self.register_buffer("items", torch.zeros(len(catalogue), model.shape.hidden))

    def batches(self, rng: np.random.Generator) -> list[Split]:
        """An epoch: `positions_per_user` random positions of every user."""
        drawn = draw(self._train, self._positions_per_user, rng)
        rows = shuffled_by_length(self._lengths(drawn.histories), self._batch, rng)
        return [Split([drawn.histories[row] for row in part], drawn.targets[part]) for part in rows]

    def loss(self, batch: Split) -> Tensor:
        """Mean cross-entropy of the targets over all items or sampled ones, cosines divided by the temperature."""
        logits = self._encode(batch.histories) @ self.items.T / TEMPERATURE
        targets = torch.from_numpy(batch.targets).to(logits.device)
        if self._negatives:
            logits, targets = sampled(logits, targets, self._negatives)
        return functional.cross_entropy(logits.float(), targets)

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
            yield rows, functional.linear(vectors, self.items).float().cpu().numpy()

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


def sampled(logits: Tensor, targets: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """Of (users, items), each target's logit and those of `negatives` random items: (users, 1 + negatives), and zeros.

    Drawn uniformly with replacement for every user; as published, neither the target nor the history is left out and
    nothing corrects for it (recformer-notes item 13). One matrix product with all items costs less than gathering the
    vectors of a thousand for every user.
    """
    drawn = torch.randint(logits.shape[1], (len(targets), negatives), device=logits.device)
    return logits.gather(1, torch.cat([targets[:, None], drawn], 1)), torch.zeros_like(targets)
