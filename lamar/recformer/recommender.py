"""Recformer as a recommender: score every item of the catalogue by its cosine with the user's history.

The two stages of fine-tuning (Recformer, Algorithm 1): in the first, the vectors of all items are encoded anew after
every epoch and are constant within it; in the second, they stay as the best epoch of the first left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lamar.recformer.model import Recformer
from lamar.text.tokens import Catalogue, batch_of
from lamar.training.batches import by_length

TEMPERATURE = 0.05  # Recformer, section 3.1.3


class RecformerRecommender(torch.nn.Module):
    """A Recformer and the vectors of all items."""

    def __init__(self, model: Recformer, catalogue: Catalogue, cls: int, max_tokens: int, batch: int) -> None:
        """`cls` is the tokenizer's id of CLS; `batch` the users encoded at once when nothing is trained."""
        super().__init__()
        self.model = model
        self._catalogue = catalogue
        self._cls = cls
        self._max_tokens = max_tokens
        self._batch = batch
        self.register_buffer("items", torch.zeros(len(catalogue), model.shape.hidden))

    def encode(self, histories: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors (users, hidden) of histories (items, oldest first)."""
        text = batch_of(histories, self._catalogue, self._cls, self.model.shape.max_items, self._max_tokens)
        device = self.items.device
        arrays = (text.ids, text.types, text.items, text.lengths)
        vectors = self.model(*(torch.from_numpy(array).to(device) for array in arrays))
        return functional.normalize(vectors.float(), dim=-1)

    @torch.inference_mode()
    def encode_items(self) -> None:
        """Encode every item alone, as a history of one."""
        training = self.training
        self.eval()
        items = [[item] for item in range(len(self._catalogue))]
        lengths = np.diff(self._catalogue.offsets)
        for rows in by_length(lengths, self._batch):
            self.items[torch.from_numpy(rows)] = self.encode([items[row] for row in rows])
        self.train(training)

    def loss(self, histories: Sequence[Sequence[int]], targets: np.ndarray) -> Tensor:
        """Mean cross-entropy of the targets over all items, cosines divided by the temperature."""
        logits = self.encode(histories) @ self.items.T / TEMPERATURE
        return functional.cross_entropy(logits, torch.from_numpy(targets).to(logits.device))

    @torch.inference_mode()
    def scores(self, histories: Sequence[Sequence[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, scores): indices into `histories` and float32 (rows, items), in batches of similar length."""
        self.eval()
        lengths = np.array([self._catalogue_length(history) for history in histories])
        for rows in by_length(lengths, self._batch):
            yield rows, (self.encode([histories[row] for row in rows]) @ self.items.T).cpu().numpy()

    def _catalogue_length(self, history: Sequence[int]) -> int:
        recent = np.asarray(history[-self.model.shape.max_items :], np.int64)
        offsets = self._catalogue.offsets
        return min(int((offsets[recent + 1] - offsets[recent]).sum()), self._max_tokens)
