"""UniSRec (Hou et al. 2022): text vectors, whitened and adapted by a mixture of experts, read by a causal Transformer.

Scores are cosines. Fine-tuned on text alone (inductive) or with a vector of each item's own beside it (transductive).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import normalize

from lamar.baselines.sequence import INITIAL_STD, SequenceModel, Shape
from lamar.training.dropout import Dropout

# As published (section 3.1.4 and the authors' configuration).
EXPERTS = 8
ADAPTOR_DROPOUT = 0.2
TEMPERATURE = 0.07
NOISE_FLOOR = 0.01  # so that the gate's noise never vanishes


class Adaptor(nn.Module):
    """Experts, each a parametric whitening (x - b) W (section 2.1.2), mixed by a gate on the text (section 2.1.3).

    The experts see a text with the same elements dropped (the authors draw anew for each): a third of the time.
    """

    def __init__(self, width: int, hidden: int) -> None:
        """From text vectors of `width` numbers to item vectors of `hidden`."""
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(EXPERTS, 1, width))
        self.weight = nn.Parameter(torch.empty(EXPERTS, width, hidden).normal_(std=INITIAL_STD))
        self.gate = nn.Parameter(torch.zeros(width, EXPERTS))
        self.noise = nn.Parameter(torch.zeros(width, EXPERTS))
        self.dropout = Dropout(ADAPTOR_DROPOUT)

    def forward(self, texts: Tensor) -> Tensor:
        """(items, width) -> (items, hidden)."""
        weight = self.weight.transpose(0, 1).flatten(1)  # of all experts side by side: one matrix product
        shifted = (self.shift @ self.weight).squeeze(1)  # (experts, hidden): b W, as (x - b) W is x W - b W
        whitened = (self.dropout(texts) @ weight).unflatten(1, shifted.shape) - shifted
        return (self.gates(texts).unsqueeze(1) @ whitened).squeeze(1)

    def gates(self, texts: Tensor) -> Tensor:
        """The share of each expert, (items, experts); noisy in training, so that none is left out from the start."""
        scores = texts @ self.gate
        if self.training:
            deviation = functional.softplus(texts @ self.noise) + NOISE_FLOOR
            scores = scores + torch.randn_like(scores) * deviation
        return scores.softmax(-1)


class Unisrec(SequenceModel):
    """Inductive: an item is its text."""

    def __init__(self, train: Sequence[np.ndarray], texts: np.ndarray, shape: Shape) -> None:
        """`texts`: float32 (items, width), one vector for each item; they stay as they are."""
        super().__init__(train, len(texts), Adaptor(texts.shape[1], shape.hidden), shape)
        self.register_buffer("texts", torch.from_numpy(texts), persistent=False)

    def vectors(self) -> Tensor:
        """(items + 1, hidden)."""
        return functional.pad(self.adapted(), (0, 0, 0, 1))

    def adapted(self) -> Tensor:
        """(items, hidden)."""
        return self.item(self.texts)

    def logits(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Cosines (rows, items) divided by the temperature."""
        return sharpened_cosines(states, vectors[: self._items])

    def freeze_encoder(self) -> None:
        """Leave the Transformer as it is from now on: fine-tuning learns the adaptor alone (section 2.3)."""
        for part in (self.position, self.encoder):
            part.requires_grad_(False)


class TransductiveUnisrec(Unisrec):
    """Transductive: an item is its text and a vector of its own."""

    def __init__(self, train: Sequence[np.ndarray], texts: np.ndarray, shape: Shape) -> None:
        """As `Unisrec`."""
        super().__init__(train, texts, shape)
        self.own = nn.Parameter(torch.empty(len(texts), shape.hidden).normal_(std=INITIAL_STD))

    def adapted(self) -> Tensor:
        """(items, hidden)."""
        return super().adapted() + self.own


FINE_TUNING: dict[str, type[Unisrec]] = {"inductive": Unisrec, "transductive": TransductiveUnisrec}


def sharpened_cosines(rows: Tensor, columns: Tensor) -> Tensor:
    """(rows, hidden) and (columns, hidden) -> float32 (rows, columns): cosines divided by the temperature.

    In float32 whatever the precision around it: divided by it, bfloat16's error is no longer small.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return (normalize(rows.float(), dim=-1) / TEMPERATURE) @ normalize(columns.float(), dim=-1).T
