"""What Recformer is pre-trained for (Li et al. 2023, section 3.3): the next item, and words that are hidden.

The next item is told from those of the other examples in the batch, both read by the same encoder; words are hidden in
the history and in the next item. The word table stays as it was, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.recformer.masking import mask_words
from lamar.recformer.model import Recformer
from lamar.recformer.recommender import TEMPERATURE, RecformerRecommender, cosines
from lamar.text.tokens import Catalogue
from lamar.training.devices import sent
from lamar.training.examples import Split
from lamar.training.processes import process


class Words(nn.Module):
    """Says which word stands at a place, from its hidden state: BERT's head, whose last matrix is the word table."""

    def __init__(self, vocabulary: int, hidden: int, layer_norm_eps: float) -> None:
        """Random weights: most encoders come without theirs."""
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(places, hidden) and the word table (vocabulary, hidden) -> logits (places, vocabulary)."""
        return functional.linear(self.norm(functional.gelu(self.dense(states))), table, self.bias)


class Pretraining(RecformerRecommender):
    """A Recformer that learns from sequences of any catalogues; it ranks as the recommender that it will be."""

    read = None  # its steps are not captured: they have two texts, or four, whose shapes seldom come again

    def __init__(
        self, model: Recformer, catalogue: Catalogue, train: list[np.ndarray], *, mask: int, masked: float,
        masked_weight: float, **reading: Any,
    ) -> None:  # fmt: skip
        """`mask` is the tokenizer's id of a hidden word, `masked` their share, `masked_weight` that of their loss.

        `reading` as RecformerRecommender has it.
        """
        super().__init__(model, catalogue, train, **reading)
        self.words = Words(model.shape.vocabulary, model.shape.hidden, model.shape.layer_norm_eps)
        model.embeddings.word.requires_grad_(False)
        self._mask = mask
        self._masked = masked
        self._masked_weight = masked_weight

    def batches(self, rng: np.random.Generator) -> list[Split]:
        """An epoch: random positions in the second half of every user's sequence."""
        drawn = draw_late(self._train, self._positions_per_user, rng)
        rows = self._shuffled(drawn.histories, rng)
        return [Split([drawn.histories[row] for row in part], drawn.targets[part]) for part in rows]

    def loss(self, batch: Split) -> Tensor:
        """The loss of the next items, and of the words hidden in histories and items."""
        alone = [np.array([item]) for item in batch.targets]
        users = len(alone)
        mine = process().share(users)
        read, chosen = (process().gathered(self._encode(texts[mine]), users) for texts in (batch.histories, alone))
        contrast = next_item_loss(read, chosen, sent(batch.targets, read.device))
        if not self._masked_weight:  # nothing is read for it
            return contrast
        hidden = self._words_loss(batch.histories) + self._words_loss(alone)
        return contrast + self._masked_weight * hidden

    def _words_loss(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Mean cross-entropy of the hidden words, each among the whole vocabulary; 0 where none is hidden."""
        text = self.texts.padded(histories)
        with process().alike():
            read, chosen = mask_words(text.ids, text.starts, self._mask, self.model.shape.vocabulary, self._masked)
        chosen &= text.layout.real
        mine = process().share(len(read))
        states = self.model.states(replace(text, ids=read).rows(mine))[chosen[mine]]
        said = self.words(states, self.model.embeddings.word.weight)
        surprise = functional.cross_entropy(said.float(), text.ids[mine][chosen[mine]], reduction="sum")
        return process().total(surprise, len(read)) / chosen.sum().clamp(min=1)


def next_item_loss(histories: Tensor, items: Tensor, numbers: Tensor) -> Tensor:
    """Mean cross-entropy of each history's item among those of the batch: unit vectors (users, hidden) both.

    numbers: which items they are, (users,): another user's item that is the same one is no wrong answer (published:
    it is).
    """
    logits = cosines(histories, items) / TEMPERATURE
    same = (numbers[:, None] == numbers[None, :]) & ~torch.eye(len(numbers), dtype=torch.bool, device=logits.device)
    return functional.cross_entropy(
        logits.masked_fill(same, float("-inf")), torch.arange(len(numbers), device=logits.device)
    )


def draw_late(train: list[np.ndarray], per_user: int, rng: np.random.Generator) -> Split:
    """`per_user` examples of every user: a target at a uniform position of the second half, and what is before it."""
    users = np.repeat(np.arange(len(train)), per_user)
    sizes = np.array([len(train[user]) for user in users])
    positions = rng.integers((sizes - 1) // 2, sizes)
    histories = [train[user][:place] for user, place in zip(users, positions, strict=True)]
    return Split(histories, np.array([train[user][place] for user, place in zip(users, positions, strict=True)]))
