"""Pre-training by hand: its examples, its two losses, and that both are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders import alone, recformer
from test_recommender import ITEMS, TITLES, VOCABULARY, cycles, scored, settings, split_of, tokenizer
from torch.nn import functional

from lamar.recformer.masking import mask_words
from lamar.recformer.pretraining import Pretraining, draw_late, next_item_loss
from lamar.recformer.recommender import TEMPERATURE
from lamar.text.tokens import tokenise
from lamar.training import fit
from lamar.training.examples import Split

BATCH = Split([np.arange(length) for length in (0, 3, 12)], np.array([4, 3, 9]))


def pretraining(train=(), **changes) -> Pretraining:
    reading = {"max_tokens": 64, "batch": 16, "positions_per_user": 2, "masked": 0.5, "masked_weight": 0.1} | changes
    model = recformer(vocabulary=len(VOCABULARY), positions=80)
    return Pretraining(model, tokenise(TITLES, tokenizer(), 32), train, cls=1, mask=2, **reading).eval()


def test_the_next_item_is_told_from_the_others_of_the_batch():
    torch.manual_seed(0)
    histories, items = (functional.normalize(torch.randn(3, 8), dim=-1) for _ in range(2))
    logits = (histories @ items.T / TEMPERATURE).tolist()
    expected = [-(row[n] - np.log(np.exp(row).sum())) for n, row in enumerate(logits)]
    assert next_item_loss(histories, items, torch.tensor([5, 6, 7])).item() == pytest.approx(
        np.mean(expected), rel=1e-5
    )


def test_the_same_item_of_another_user_is_no_wrong_answer():
    torch.manual_seed(0)
    histories, items = (functional.normalize(torch.randn(3, 8), dim=-1) for _ in range(2))
    items[2] = items[0]
    (a, b, _), (c, d, _), (_, e, f) = (histories @ items.T / TEMPERATURE).exp().tolist()
    expected = -np.mean(np.log([a / (a + b), d / (2 * c + d), f / (e + f)]))
    assert next_item_loss(histories, items, torch.tensor([5, 6, 5])).item() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_loss_is_the_next_items_and_a_share_of_the_hidden_words():
    model = pretraining()
    model.renew()
    own = torch.from_numpy(scored(model, BATCH.histories))[:, BATCH.targets] / TEMPERATURE
    contrast = -own.log_softmax(-1).diag().mean()
    torch.manual_seed(1)
    words = [words_by_hand(model, histories) for histories in (BATCH.histories, [[4], [3], [9]])]
    torch.manual_seed(1)
    assert model.loss(BATCH).item() == pytest.approx((contrast + 0.1 * sum(words)).item(), rel=1e-4)


@torch.no_grad()
def test_without_their_weight_no_words_are_read():
    model = pretraining(masked_weight=0.0)
    model.renew()
    own = torch.from_numpy(scored(model, BATCH.histories))[:, BATCH.targets] / TEMPERATURE
    before = torch.random.get_rng_state()
    assert model.loss(BATCH).item() == pytest.approx(-own.log_softmax(-1).diag().mean().item(), rel=1e-4)
    assert torch.equal(torch.random.get_rng_state(), before), "words were drawn"


def words_by_hand(model: Pretraining, histories) -> torch.Tensor:
    """Mean surprise of the hidden words, one user at a time."""
    text = model.texts.read([np.array(history, np.int64) for history in histories])
    ids = text.ids
    read, chosen = mask_words(ids, text.starts, 2, len(VOCABULARY), 0.5)
    surprises = []
    for user, length in enumerate(text.layout.lengths):
        states = model.model.states(alone(replace(text, ids=read), user))[0]
        head = functional.gelu(model.words.dense(states))
        logits = model.words.norm(head) @ model.model.embeddings.word.weight.T + model.words.bias
        surprise = -logits.log_softmax(-1)
        surprises += [surprise[place, ids[user, place]] for place in range(length) if chosen[user, place]]
    return torch.stack(surprises).mean()


def test_a_batch_without_any_word():
    model = pretraining(masked=1e-9)
    assert torch.isfinite(model.loss(Split([np.arange(0)], np.array([4]))))


def test_targets_are_of_the_second_half():
    train = [np.arange(10, 15), np.array([7]), np.arange(20, 24)]
    drawn = draw_late(train, 300, np.random.default_rng(0))
    seen = [set(drawn.targets[300 * user : 300 * user + 300].tolist()) for user in range(3)]
    assert seen == [{12, 13, 14}, {7}, {21, 22, 23}]
    for row, (history, target) in enumerate(zip(drawn.histories, drawn.targets, strict=True)):
        items = train[row // 300].tolist()
        assert history.tolist() == items[: items.index(target)]


def test_it_learns_both_and_leaves_the_word_table():
    everything = cycles(100)
    model = pretraining([items[:-1] for items in everything], masked=0.15)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    curve = fit.fit(model, split_of(everything), settings(patience=9), 9, seed=0, seen=lambda epoch: None)
    assert max(epoch.validation for epoch in curve) > curve[0].validation + 0.2
    assert min(epoch.loss for epoch in curve[1:]) < curve[1].loss / 2
    same = {name for name, weight in model.state_dict().items() if torch.equal(weight, before[name])}
    assert "model.embeddings.word.weight" in same
    assert not {"words.dense.weight", "words.bias", "model.layers.0.output.weight"} & same
    assert len(model.items) == ITEMS
