"""ZESRec: an item is its projected text and an offset, and the offsets have a prior."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lamar.baselines.sequence import Shape
from lamar.baselines.zesrec import Zesrec
from lamar.params import ZesrecRun, load
from lamar.training import fit
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
ITEMS, WIDTH = 20, 12
PAD = ITEMS
TEXTS = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)


def zesrec(train=(), offset_std=0.5) -> Zesrec:
    torch.manual_seed(0)
    return Zesrec(train, TEXTS, Shape(32, 1, 2, 0.0, 8, 32), offset_std=offset_std)


@torch.no_grad()
def test_an_item_is_its_projected_text_before_anything_is_learned_of_it():
    model = zesrec()
    expected = TEXTS @ model.item.weight.numpy().T + model.item.bias.numpy()
    np.testing.assert_allclose(model.vectors()[:ITEMS], expected, rtol=1e-4, atol=1e-5)
    model.offset[3] += 2
    changed = (model.vectors()[:ITEMS] - torch.from_numpy(expected)).abs().amax(-1)
    assert torch.nonzero(changed > 1).ravel().tolist() == [3]


@torch.no_grad()
def test_the_loss_is_minus_the_log_posterior_for_each_target():
    window = np.array([[1, 2, 3, 4], [PAD, 5, 6, 7]])
    model = zesrec(train=[np.arange(4), np.arange(3)], offset_std=0.5)  # 3 + 2 targets
    model.offset += torch.randn_like(model.offset)
    vectors = model.vectors()
    logits = model.states(torch.from_numpy(window[:, :-1]), vectors) @ vectors[:ITEMS].T
    targets = torch.from_numpy(window[:, 1:])
    real = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    surprise = np.mean([functional.cross_entropy(logits[place], targets[place]).item() for place in real])
    gaussian = 0.5 * ((model.offset.numpy() / 0.5) ** 2).sum()
    assert model.loss(window).item() == pytest.approx(surprise + gaussian / 5, rel=1e-4)


def settings() -> ZesrecRun:
    changes = {"patience": 30, "learning_rate": 0.005, "warmup_steps": 10}
    return load(REPOSITORY / "params.yaml").runs["zesrec-original"].model_copy(update=changes)


@pytest.mark.parametrize("offset_std", [0.001, 0.5])
def test_it_learns_a_cycle_of_texts(offset_std):
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(3, 15))) % ITEMS for _ in range(80)]
    last = np.array([items[-1] for items in walks])
    train = [items[:-1] for items in walks]
    model = zesrec(train, offset_std)
    fit.fit(model, Split(train, last), settings(), epochs=20, seed=0, seen=lambda epoch: None)
    assert fit.validation_ndcg(model, Split(walks, (last + 1) % ITEMS), settings()) > 0.9
    assert (model.offset.abs().max().item() < 0.01) == (offset_std == 0.001)
