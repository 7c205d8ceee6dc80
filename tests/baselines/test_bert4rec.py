"""BERT4Rec: what is masked, that the masked are guessed from both sides, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sequence_scores import random_history, scored
from torch.nn import functional

from lamar.baselines.bert4rec import Bert4rec, Masked
from lamar.baselines.sequence import Shape, padded
from lamar.params import Bert4recRun, load
from lamar.training import fit
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
ITEMS = 20
PAD, MASK = ITEMS, ITEMS + 1


def bert4rec(train=(), *, max_items=6, mask_share=0.2, last_share=0.5, batch=4) -> Bert4rec:
    torch.manual_seed(0)
    shape = Shape(32, 2, 2, 0.0, max_items, batch)
    model = Bert4rec(train, ITEMS, shape, mask_share=mask_share, last_share=last_share)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)  # a fresh model's attention is close to uniform
    return model.eval()


@torch.no_grad()
def test_later_items_change_earlier_states():
    model = bert4rec()
    items = torch.from_numpy(random_history(ITEMS, 6))[None]
    other = items.clone()
    other[0, -1] = (other[0, -1] + 1) % ITEMS
    changed = (model.states(other, model.vectors()) - model.states(items, model.vectors())).abs().amax(-1)
    assert changed.min() > 1e-3


@torch.no_grad()
def test_padding_is_not_seen():
    model = bert4rec(max_items=10)
    before = scored(model, [random_history(ITEMS, 4)])
    model.item.weight[PAD] += 5
    assert np.allclose(scored(model, [random_history(ITEMS, 4)]), before, atol=1e-5)


def test_histories_of_any_length_are_scored_alike_together_and_alone():
    model = bert4rec(batch=1)  # scores four at a time
    histories = [random_history(ITEMS, length, seed=length) for length in (3, 0, 6, 1, 5, 2, 4)]
    alone = np.concatenate([scored(model, [history]) for history in histories])
    np.testing.assert_allclose(scored(model, histories), alone, atol=1e-5)
    assert len(np.unique(alone.round(4), axis=0)) == len(histories)


def test_the_mask_takes_a_place_of_the_history():
    model = bert4rec(max_items=6)
    long = random_history(ITEMS, 15)
    assert np.array_equal(scored(model, [long]), scored(model, [long[-5:]]))
    assert np.abs(scored(model, [long]) - scored(model, [long[-4:]])).max() > 1e-3


@torch.no_grad()
def test_the_loss_is_the_mean_over_what_is_masked():
    """Item by item, by hand: what is read has masks in place of the hidden items."""
    model = bert4rec(max_items=5)
    items = np.array([[7, 8, 9, 10, 11], [PAD, PAD, 1, 2, 3]])
    hidden = np.array([[False, True, False, True, False], [False, False, False, False, True]])
    read = np.array([[7, MASK, 9, MASK, 11], [PAD, PAD, 1, 2, MASK]])
    states = model.states(torch.from_numpy(read), model.vectors())
    losses = []
    for row, place, item in [(0, 1, 8), (0, 3, 10), (1, 4, 3)]:
        inner = functional.gelu(states[row, place] @ model.projection.weight.T + model.projection.bias)
        inner = functional.layer_norm(inner, (32,), model.norm.weight, model.norm.bias)
        logits = model.item.weight[:ITEMS] @ inner + model.bias
        losses.append((logits.exp().sum().log() - logits[item]).item())
    assert model.loss(Masked(items, hidden)).item() == pytest.approx(np.mean(losses), rel=1e-5)


@torch.no_grad()
def test_a_history_is_scored_as_its_last_item_was_masked_in_training():
    model = bert4rec(max_items=6)
    window = random_history(ITEMS, 6)
    last = np.arange(6)[None] == 5
    guess = torch.from_numpy(scored(model, [window[:-1]])[0]).log_softmax(-1)
    assert model.loss(Masked(window[None], last)).item() == pytest.approx(-guess[window[-1]].item(), rel=1e-4)


TRAIN = [random_history(ITEMS, length, seed=length) for length in (2, 3, 5, 6, 7, 13, 40)]


def masks(seed: int = 0, **shares: float) -> list[Masked]:
    model = bert4rec(TRAIN, **shares)
    rng = np.random.default_rng(seed)
    return [batch for _ in range(100) for batch in model.batches(rng)]


def test_something_is_masked_of_every_window_and_no_padding():
    for batch in masks(mask_share=0.05, last_share=0.0):
        assert batch.items.shape[1] == (batch.items != PAD).sum(1).max() <= 6
        assert batch.hidden.any(1).all()
        assert not batch.hidden[batch.items == PAD].any()


def test_the_shares_are_what_was_asked():
    drawn = masks(mask_share=0.5, last_share=0.0)
    places = np.concatenate([batch.hidden[batch.items != PAD] for batch in drawn])
    assert places.mean() == pytest.approx(0.5, abs=0.03)
    wide = [batch for batch in masks(mask_share=1.0, last_share=0.3) if batch.items.shape[1] == 6]
    rows = np.concatenate([batch.hidden[(batch.items != PAD).all(1)] for batch in wide])
    assert set(rows.sum(1)) == {1, 6}
    assert (rows.sum(1) == 1).mean() == pytest.approx(0.3, abs=0.03)
    assert rows[:, -1].all()


def test_windows_are_pieces_of_the_training_sequences_and_cover_them():
    pieces = {tuple(items[start : start + length]) for items in TRAIN for start in range(40) for length in range(2, 7)}
    for seed in range(5):
        batches = bert4rec(TRAIN).batches(np.random.default_rng(seed))
        windows = [tuple(row[row != PAD]) for batch in batches for row in batch.items]
        assert set(windows) <= pieces
        assert sum(len(window) - 1 for window in windows) == sum(len(items) - 1 for items in TRAIN)


def settings() -> Bert4recRun:
    changes = {"patience": 60, "learning_rate": 0.005, "warmup_steps": 10}
    return load(REPOSITORY / "params.yaml").runs["bert4rec"].model_copy(update=changes)


def test_it_learns_a_cycle():
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(3, 15))) % ITEMS for _ in range(80)]
    last = np.array([items[-1] for items in walks])
    train = [items[:-1] for items in walks]
    model = Bert4rec(train, ITEMS, Shape(32, 1, 2, 0.0, 8, 32), mask_share=0.2, last_share=0.5)
    untrained = fit.validation_ndcg(model, Split(train, last), settings())
    fit.fit(model, Split(train, last), settings(), epochs=25, seed=0, seen=lambda epoch: None)
    assert untrained < 0.6
    assert fit.validation_ndcg(model, Split(walks, (last + 1) % ITEMS), settings()) > 0.9


def test_padded_windows_end_at_the_right():
    assert padded([np.array([1, 2]), np.arange(9)], 4, PAD).tolist() == [[PAD, PAD, 1, 2], [5, 6, 7, 8]]
