"""UniSRec: whitening, experts, cosines and the two ways of fine-tuning, against plain formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sequence_scores import random_history, scored

from lamar.baselines.sequence import Shape
from lamar.baselines.unisrec import ADAPTOR_DROPOUT, EXPERTS, Adaptor, TransductiveUnisrec, Unisrec
from lamar.params import UnisrecRun, load
from lamar.training import fit
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
ITEMS, WIDTH, HIDDEN = 20, 12, 32
PAD = ITEMS
TEXTS = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Every weight moved off its initial value."""
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return model.eval()


def adaptor() -> Adaptor:
    torch.manual_seed(0)
    return shaken(Adaptor(WIDTH, HIDDEN))


def unisrec(train=(), kind=Unisrec, max_items=6) -> Unisrec:
    torch.manual_seed(0)
    return shaken(kind(train, TEXTS, Shape(HIDDEN, 2, 2, 0.0, max_items, batch=4)))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


@torch.no_grad()
def test_an_item_is_its_whitened_text_mixed_over_the_experts():
    """Item by item and expert by expert, as the paper writes it."""
    model = adaptor()
    shift, weight, gate = (getattr(model, name).numpy() for name in ("shift", "weight", "gate"))
    assert len(weight) == EXPERTS == 8
    found = model(torch.from_numpy(TEXTS)).numpy()
    for text, vector in zip(TEXTS, found, strict=True):
        shares = softmax(text @ gate)
        expected = sum(share * (text - shift[k, 0]) @ weight[k] for k, share in enumerate(shares))
        np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_gate_is_noisy_in_training_alone():
    model = adaptor()
    text = torch.from_numpy(TEXTS[:1])
    still = model.gates(text)
    assert torch.equal(model.gates(text), still)
    model.train()
    drawn = torch.cat([model.gates(text) for _ in range(4000)]).log()
    noise = drawn - drawn.mean(-1, keepdim=True)  # the softmax leaves the logits up to a constant
    deviation = torch.log1p((text @ model.noise).exp()) + 0.01
    variance = deviation[0] ** 2
    expected = variance * (1 - 2 / EXPERTS) + variance.sum() / EXPERTS**2
    torch.testing.assert_close(noise.var(0), expected, rtol=0.15, atol=0)
    torch.testing.assert_close(noise.mean(0), still.log()[0] - still.log().mean(), rtol=0, atol=0.1)


@torch.no_grad()
def test_in_training_all_experts_read_a_text_with_the_same_elements_dropped():
    model = adaptor().train()
    model.noise.fill_(-1000)  # next to no noise in the gate, which sees the whole text
    texts = torch.rand(1000, WIDTH)
    torch.manual_seed(1)
    found = model(texts)
    torch.manual_seed(1)
    dropped = model.dropout(texts)
    assert (dropped == 0).float().mean().item() == pytest.approx(ADAPTOR_DROPOUT, abs=0.01)
    shares = (texts @ model.gate).softmax(-1)
    expected = sum(shares[:, [k]] * ((dropped - model.shift[k]) @ model.weight[k]) for k in range(EXPERTS))
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.2)
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


@torch.no_grad()
def test_scores_are_cosines_divided_by_the_temperature():
    model = unisrec()
    history = random_history(ITEMS, 5)
    state = model.states(torch.from_numpy(history)[None], model.vectors())[0, -1].numpy()
    items = model.item(torch.from_numpy(TEXTS)).numpy()
    cosines = items @ state / np.linalg.norm(items, axis=1) / np.linalg.norm(state)
    np.testing.assert_allclose(scored(model, [history])[0], cosines / 0.07, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_targets():
    model = unisrec()
    windows = [random_history(ITEMS, 7, seed=1), random_history(ITEMS, 3, seed=2)]
    losses = []
    for items in windows:
        states = model.states(torch.from_numpy(items[:-1])[None], model.vectors())[0]
        for state, target in zip(states, items[1:], strict=True):
            logits = torch.cosine_similarity(state[None], model.vectors()[:ITEMS]) / 0.07
            losses.append((logits.exp().sum().log() - logits[target]).item())
    batch = np.full((2, 7), PAD)
    batch[0], batch[1, 4:] = windows
    assert model.loss(batch).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_histories_of_any_length_are_scored_alike_together_and_alone():
    model = unisrec()
    histories = [random_history(ITEMS, length, seed=length) for length in (3, 0, 6, 1, 15)]
    alone = np.concatenate([scored(model, [history]) for history in histories])
    np.testing.assert_allclose(scored(model, histories), alone, atol=1e-4)
    assert len(np.unique(alone.round(4), axis=0)) == len(histories)


@torch.no_grad()
def test_items_of_the_same_text_are_the_same_unless_they_have_vectors_of_their_own():
    twins = TEXTS.copy()
    twins[1] = twins[0]
    for kind, alike in ((Unisrec, True), (TransductiveUnisrec, False)):
        torch.manual_seed(0)
        model = shaken(kind([], twins, Shape(HIDDEN, 1, 2, 0.0, 6, 4)))
        assert torch.equal(model.vectors()[0], model.vectors()[1]) == alike


@torch.no_grad()
def test_an_item_of_transductive_fine_tuning_is_its_text_and_its_own_vector():
    model = unisrec(kind=TransductiveUnisrec)
    expected = model.item(torch.from_numpy(TEXTS)) + model.own
    torch.testing.assert_close(model.vectors()[:ITEMS], expected)


def test_texts_are_read_and_neither_learned_nor_saved():
    model = unisrec()
    assert not any(name.endswith("texts") for name in [*model.state_dict(), *dict(model.named_parameters())])


def test_a_frozen_encoder_leaves_the_adaptor_to_learn():
    model = unisrec()
    model.freeze_encoder()
    learned = {name.split(".")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    assert learned == {"item"}


def settings(**changes) -> UnisrecRun:
    usual = {"patience": 30, "learning_rate": 0.005, "warmup_steps": 10}
    return load(REPOSITORY / "params.yaml").runs["unisrec-original"].model_copy(update=usual | changes)


@pytest.mark.parametrize("kind", [Unisrec, TransductiveUnisrec])
def test_it_learns_a_cycle_of_texts(kind):
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(3, 15))) % ITEMS for _ in range(80)]
    last = np.array([items[-1] for items in walks])
    train = [items[:-1] for items in walks]
    torch.manual_seed(0)
    model = kind(train, TEXTS, Shape(HIDDEN, 1, 2, 0.0, 8, 32))
    fit.fit(model, Split(train, last), settings(), epochs=20, seed=0, seen=lambda epoch: None)
    assert fit.validation_ndcg(model, Split(walks, (last + 1) % ITEMS), settings()) > 0.9
