"""SASRec: what sees what, what is trained on, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lamar.baselines.sasrec import Sasrec
from lamar.params import SasrecRun, load
from lamar.training import fit
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
ITEMS = 20
PAD = ITEMS


def sasrec(train=(), *, items=ITEMS, max_items=6, batch=4) -> Sasrec:
    torch.manual_seed(0)
    model = Sasrec(train, items, hidden=32, layers=2, heads=2, dropout=0.0, max_items=max_items, batch=batch)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)  # a fresh model's attention is close to uniform
    return model.eval()


def sequence(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(ITEMS, size=length)


def scored(model: Sasrec, histories: list[np.ndarray]) -> np.ndarray:
    scores = np.full((len(histories), ITEMS), np.nan, np.float32)
    with torch.no_grad():
        for rows, part in model.scores(histories):
            assert np.isnan(scores[rows]).all()
            scores[rows] = part
    return scores


@torch.no_grad()
def test_later_items_do_not_change_earlier_states():
    model = sasrec(max_items=10)
    before = torch.from_numpy(sequence(10))[None]
    after = before.clone()
    after[0, 6:] = (after[0, 6:] + 1) % ITEMS
    changed = (model._states(after) - model._states(before)).abs().amax(-1)[0]
    assert changed[:6].max() < 1e-6
    assert changed[6:].min() > 1e-3


@torch.no_grad()
def test_padding_is_not_seen():
    model = sasrec(max_items=10)
    items = torch.from_numpy(sequence(4))
    padded = torch.cat([torch.full((6,), PAD), items])[None]
    before = model._states(padded)[0, 6:]
    model.item.weight[PAD] += 5
    assert torch.allclose(model._states(padded)[0, 6:], before, atol=1e-5)
    assert torch.allclose(model._states(items[None])[0], before, atol=1e-5)


def test_a_batch_gives_what_each_history_gives_alone():
    model = sasrec(max_items=6, batch=1)  # scores four at a time
    histories = [sequence(length, seed=length) for length in (3, 0, 6, 1, 5, 2, 4)]
    alone = np.concatenate([scored(model, [history]) for history in histories])
    np.testing.assert_allclose(scored(model, histories), alone, atol=1e-5)
    assert np.isfinite(alone).all()
    assert len(np.unique(alone.round(4), axis=0)) == len(histories)


def test_a_history_longer_than_max_items_is_its_end():
    model = sasrec(max_items=6)
    long = sequence(15)
    assert np.array_equal(scored(model, [long]), scored(model, [long[-6:]]))
    assert np.abs(scored(model, [long]) - scored(model, [long[-5:]])).max() > 1e-3


@pytest.mark.parametrize("seed", range(10))
def test_every_target_is_in_one_window_of_an_epoch(seed):
    lengths = [1, 2, 5, 6, 7, 8, 13, 25, 40]
    train = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])  # every item occurs once
    batches = sasrec(train, items=sum(lengths), max_items=6).batches(np.random.default_rng(seed))
    assert all(batch.shape[1] == 7 and len(batch) <= 4 for batch in batches)
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
    windows = [sequence(7, seed=1), sequence(3, seed=2)]
    losses = []
    for items in windows:
        logits = model._states(torch.from_numpy(items[:-1])[None])[0] @ model.item.weight[:ITEMS].T
        losses += functional.cross_entropy(logits, torch.from_numpy(items[1:]), reduction="none").tolist()
    assert len(losses) == 6 + 2
    assert model.loss(model._pad(windows, 7)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def settings() -> SasrecRun:
    changes = {"patience": 30, "learning_rate": 0.003, "warmup_steps": 10}
    return load(REPOSITORY / "params.yaml").runs["sasrec"].model_copy(update=changes)


def cycles(users: int) -> list[np.ndarray]:
    """Everybody walks around the same circle of all items, from a place of their own."""
    rng = np.random.default_rng(0)
    return [(rng.integers(ITEMS) + np.arange(rng.integers(3, 15))) % ITEMS for _ in range(users)]


def test_it_learns_a_cycle():
    train = cycles(80)
    last = np.array([items[-1] for items in train])
    validation = Split([items[:-1] for items in train], last)
    model = Sasrec(
        [items[:-1] for items in train], ITEMS, hidden=32, layers=2, heads=2, dropout=0.1, max_items=8, batch=32
    )
    untrained = fit.validation_ndcg(model, validation, settings())
    fit.fit(model, validation, settings(), epochs=20, seed=0, seen=lambda epoch: None)
    unseen = Split(train, (last + 1) % ITEMS)
    assert untrained < 0.6
    assert fit.validation_ndcg(model, unseen, settings()) > 0.9
