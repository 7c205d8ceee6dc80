"""SASRec: what sees what, what is trained on, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sequence_scores import random_history, scored
from torch.nn import functional

from lamar.baselines.sasrec import PublishedSasrec, Sasrec
from lamar.baselines.sequence import Shape, padded
from lamar.params import SasrecRun, load
from lamar.training import fit
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
ITEMS = 20
PAD = ITEMS


def sasrec(train=(), *, items=ITEMS, max_items=6, batch=4, kind=Sasrec) -> Sasrec:
    torch.manual_seed(0)
    model = kind(train, items, Shape(32, 2, 2, 0.0, max_items, batch))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)  # a fresh model's attention is close to uniform
    return model.eval()


def states(model: Sasrec, items: torch.Tensor) -> torch.Tensor:
    return model.states(items, model.vectors())


@torch.no_grad()
def test_later_items_do_not_change_earlier_states():
    model = sasrec(max_items=10)
    before = torch.from_numpy(random_history(ITEMS, 10))[None]
    after = before.clone()
    after[0, 6:] = (after[0, 6:] + 1) % ITEMS
    changed = (states(model, after) - states(model, before)).abs().amax(-1)[0]
    assert changed[:6].max() < 1e-6
    assert changed[6:].min() > 1e-3


@torch.no_grad()
def test_padding_is_not_seen():
    model = sasrec(max_items=10)
    items = torch.from_numpy(random_history(ITEMS, 4))
    filled = torch.cat([torch.full((6,), PAD), items])[None]
    before = states(model, filled)[0, 6:]
    model.item.weight[PAD] += 5
    assert torch.allclose(states(model, filled)[0, 6:], before, atol=1e-5)
    assert torch.allclose(states(model, items[None])[0], before, atol=1e-5)


def test_a_batch_gives_what_each_history_gives_alone():
    model = sasrec(max_items=6, batch=1)  # scores four at a time
    histories = [random_history(ITEMS, length, seed=length) for length in (3, 0, 6, 1, 5, 2, 4)]
    alone = np.concatenate([scored(model, [history]) for history in histories])
    np.testing.assert_allclose(scored(model, histories), alone, atol=1e-5)
    assert np.isfinite(alone).all()
    assert len(np.unique(alone.round(4), axis=0)) == len(histories)


def test_a_history_longer_than_max_items_is_its_end():
    model = sasrec(max_items=6)
    long = random_history(ITEMS, 15)
    assert np.array_equal(scored(model, [long]), scored(model, [long[-6:]]))
    assert np.abs(scored(model, [long]) - scored(model, [long[-5:]])).max() > 1e-3


@pytest.mark.parametrize("seed", range(10))
def test_every_target_is_in_one_window_of_an_epoch(seed):
    lengths = [1, 2, 5, 6, 7, 8, 13, 25, 40]
    train = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])  # every item occurs once
    batches = sasrec(train, items=sum(lengths), max_items=6).batches(np.random.default_rng(seed))
    assert all(len(batch) <= 4 for batch in batches)
    assert all(batch.shape[1] == (batch < sum(lengths)).sum(1).max() <= 7 for batch in batches)  # no more padding
    windows = [row[row < sum(lengths)] for batch in batches for row in batch]
    assert all(np.array_equal(np.diff(window), np.ones(len(window) - 1)) for window in windows)
    targets = np.concatenate([window[1:] for window in windows])
    assert sorted(targets) == sorted(np.concatenate([items[1:] for items in train]))


def test_windows_are_cut_anew_every_epoch():
    model = sasrec([np.arange(20)], max_items=6)
    rng = np.random.default_rng(0)
    cuts = {tuple(np.concatenate(model.batches(rng)).ravel()) for _ in range(20)}
    assert len(cuts) > 3


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_targets():
    model = sasrec(max_items=6)
    windows = [random_history(ITEMS, 7, seed=1), random_history(ITEMS, 3, seed=2)]
    losses = []
    for items in windows:
        logits = states(model, torch.from_numpy(items[:-1])[None])[0] @ model.item.weight[:ITEMS].T
        losses += functional.cross_entropy(logits, torch.from_numpy(items[1:]), reduction="none").tolist()
    assert len(losses) == 6 + 2
    assert model.loss(padded(windows, 7, PAD)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_published_loss_is_binary_for_each_target_and_one_other_item(monkeypatch):
    model = sasrec(max_items=6, kind=PublishedSasrec)
    windows, others = (
        [random_history(ITEMS, 7, seed=1), random_history(ITEMS, 3, seed=2)],
        torch.arange(12).reshape(2, 6),
    )
    monkeypatch.setattr(model, "_others", lambda sequence: others)
    losses = []
    for items, false in zip(windows, (others[0], others[1, -2:]), strict=True):
        found = states(model, torch.from_numpy(items[:-1])[None])[0]
        right = torch.sigmoid((found * model.item.weight[items[1:]]).sum(-1))
        wrong = torch.sigmoid((found * model.item.weight[false]).sum(-1))
        losses += (-right.log() - (1 - wrong).log()).tolist()
    assert model.loss(padded(windows, 7, PAD)).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_other_items_are_uniform_over_those_the_window_lacks():
    model = sasrec(kind=PublishedSasrec)
    window = torch.tensor([[PAD, PAD, 3, 3, 5], [0, 1, 2, 3, 4]])
    drawn = torch.cat([model._others(window) for _ in range(2000)], dim=1)
    for row, lacked in zip(drawn, (set(range(ITEMS)) - {3, 5}, set(range(5, ITEMS))), strict=True):
        counts = torch.bincount(row, minlength=ITEMS).numpy()
        assert set(np.flatnonzero(counts)) == lacked
        assert counts[sorted(lacked)].max() < 1.5 * counts[sorted(lacked)].min()


def test_a_window_of_the_whole_catalogue_has_other_items_all_the_same():
    model = sasrec(items=3, kind=PublishedSasrec)
    assert model._others(torch.tensor([[0, 1, 2]])).max() < 3


def settings() -> SasrecRun:
    changes = {"patience": 30, "learning_rate": 0.003, "warmup_steps": 10}
    return load(REPOSITORY / "params.yaml").runs["sasrec"].model_copy(update=changes)


def cycles(users: int) -> list[np.ndarray]:
    """Everybody walks around the same circle of all items, from a place of their own."""
    rng = np.random.default_rng(0)
    return [(rng.integers(ITEMS) + np.arange(rng.integers(3, 15))) % ITEMS for _ in range(users)]


# By the published loss an item of the window is never wrong, so that the next is hard to tell from those after it.
@pytest.mark.parametrize(("kind", "learned"), [(Sasrec, 0.9), (PublishedSasrec, 0.5)])
def test_it_learns_a_cycle(kind, learned):
    train = cycles(80)
    last = np.array([items[-1] for items in train])
    validation = Split([items[:-1] for items in train], last)
    model = kind([items[:-1] for items in train], ITEMS, Shape(32, 2, 2, 0.1, max_items=8, batch=32))
    untrained = fit.validation_ndcg(model, validation, settings())
    fit.fit(model, validation, settings(), epochs=20, seed=0, seen=lambda epoch: None)
    unseen = Split(train, (last + 1) % ITEMS)
    assert untrained < 0.4
    assert fit.validation_ndcg(model, unseen, settings()) > learned
