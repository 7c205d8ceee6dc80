"""ZESRec (Ding et al. 2021): an item is the projection of its frozen text vector and an offset of its own.

The hierarchical Bayesian model of the paper (section 3): offsets are drawn from a zero-mean Gaussian, and the maximum a
posteriori is learned. A catalogue that was not trained on has the offsets' mean, zero: its items are their text alone.
The user is read by the Transformer that all id models share (the paper: recurrent and convolutional networks).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.baselines.sequence import SequenceModel, Shape


class Zesrec(SequenceModel):
    """Scores are dot products, as the paper's."""

    def __init__(self, train: Sequence[np.ndarray], texts: np.ndarray, shape: Shape, *, offset_std: float) -> None:
        """`texts`: float32 (items, width), which stay as they are; `offset_std`: of the offsets' prior."""
        super().__init__(train, len(texts), nn.Linear(texts.shape[1], shape.hidden), shape)
        self.offset = nn.Parameter(torch.zeros(len(texts), shape.hidden))
        self.register_buffer("texts", torch.from_numpy(texts), persistent=False)
        self._offset_std = offset_std
        self._targets = sum(len(items) - 1 for items in train)

    def vectors(self) -> Tensor:
        """(items + 1, hidden)."""
        return functional.pad(self.item(self.texts) + self.offset, (0, 0, 0, 1))

    def loss(self, batch: np.ndarray) -> Tensor:
        """Minus the log posterior for each target: cross-entropy, and the offsets' prior spread over all targets."""
        return super().loss(batch) + self.offset.square().sum() / (2 * self._offset_std**2 * self._targets)
