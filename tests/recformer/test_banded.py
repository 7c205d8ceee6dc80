"""Attention to blocks is attention under the mask of the whole window, forward and backward."""

import pytest
import torch

from lamar.recformer import banded
from lamar.recformer.padded import _attend, window_mask


def test_band_mask_by_hand():
    (mask,) = banded.band_mask(torch.tensor([3]), width=4, window=2)[:, 0].int().tolist()
    assert mask == [
        # CLS; the block before, of which there is none; tokens 0, which is CLS again, and 1; tokens 2 and 3
        [[1, 0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 1, 0]],
        [[1, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]],  # the last is padding, which sees CLS alone
    ]


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("over", [0, 1, 2])
def test_it_is_the_masked_attention(window, over):
    torch.manual_seed(0)
    width = banded.BLOCKS * window + over
    lengths = torch.tensor([width, width - 1, 1])
    states = [torch.randn(3, 2, width, 8, requires_grad=True) for _ in range(3)]
    ours = banded.attend(*states, banded.band_mask(lengths, width, window), 0.0)[:, :, 1:]  # CLS has a row of its own
    theirs = _attend(*states, window_mask(lengths, width, window), 0.0)[:, :, 1:]
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    ours, theirs = (torch.autograd.grad((found * weights).sum(), states) for found in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


def test_dropout_zeroes_weights():
    torch.manual_seed(0)
    ones = torch.ones(1, 2, 40, 8)
    mask = banded.band_mask(torch.tensor([40]), 40, 5)
    torch.testing.assert_close(banded.attend(ones, ones, ones, mask, 0.0), ones)
    dropped = banded.attend(ones, ones, ones, mask, 0.5)
    assert dropped.std() > 0.1
    assert dropped.mean() == pytest.approx(1, abs=0.1)
