"""In bfloat16 a model learns, but ranks by float32 scores, and leaves the precision around it alone."""

import numpy as np
import pytest
import torch
from sequence_scores import random_history

from lamar.baselines.bert4rec import Bert4rec
from lamar.baselines.s3rec import S3rec
from lamar.baselines.sasrec import Sasrec
from lamar.baselines.sequence import SequenceModel, Shape
from lamar.baselines.unisrec import Unisrec, sharpened_cosines
from lamar.baselines.zesrec import Zesrec
from lamar.params import S3recWeights

ITEMS = 600  # bfloat16 tells 256 values of one sign and power of two apart
RNG = np.random.default_rng(0)
TEXTS = RNG.normal(size=(ITEMS, 12)).astype(np.float32)
ATTRIBUTES = RNG.random((ITEMS, 5)) < 0.4
SHAPE = Shape(16, 2, 2, 0.0, 6, 2)
WEIGHTS = S3recWeights(attributes=0.2, masked_items=1.0, masked_attributes=1.0, segments=0.5)
MODELS = {
    "sasrec": lambda: Sasrec([], ITEMS, SHAPE),
    "bert4rec": lambda: Bert4rec([], ITEMS, SHAPE, mask_share=0.2, last_share=0.5),
    "s3rec": lambda: S3rec([], ATTRIBUTES, SHAPE, mask_share=0.2, weights=WEIGHTS),
    "unisrec": lambda: Unisrec([], TEXTS, SHAPE),
    "zesrec": lambda: Zesrec([], TEXTS, SHAPE, offset_std=0.1),
}


def made(name: str) -> SequenceModel:
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_float32_and_tell_items_apart(name):
    histories = [random_history(ITEMS, 4, seed) for seed in range(20)]  # more than a batch of 8
    parts = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _, scores in made(name).scores(histories):
            parts += 1
            assert torch.is_autocast_enabled("cpu")
            assert scores.dtype == torch.float32
            distinct = [len(row.unique()) for row in scores]
            assert min(distinct) > 0.98 * ITEMS
    assert parts > 1


def test_the_loss_of_unisrec_compares_float32_cosines():
    rows, columns = torch.randn(3, 16, dtype=torch.bfloat16), torch.randn(5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = sharpened_cosines(rows, columns)
    assert found.dtype == torch.float32
    expected = torch.cosine_similarity(rows.float()[:, None], columns[None], dim=-1) / 0.07
    torch.testing.assert_close(found, expected)
