"""What the attention computes, what sees what, and what learns."""

import pytest
import torch
from encoders import alone, difference, recformer, tokens

from lamar.errors import LamarError
from lamar.recformer.attention import Attention
from lamar.recformer.model import Layer
from lamar.recformer.padded import Padded, window_mask
from lamar.training.dropout import dropout

LENGTHS = [80, 3, 1, 41]


def explicit_cls_attention(attention: Attention, rows: torch.Tensor) -> torch.Tensor:
    """CLS's global attention over all rows (tokens, hidden), every projection applied to every token."""
    heads, size = attention.heads, rows.shape[1] // attention.heads
    query = attention.query_global(rows[:1]).view(1, heads, size).transpose(0, 1)
    key, value = (
        projection(rows).view(-1, heads, size).transpose(0, 1)
        for projection in (attention.key_global, attention.value_global)
    )
    weights = (query @ key.transpose(1, 2) / size**0.5).softmax(-1)
    return (weights @ value).transpose(0, 1).reshape(-1)


@torch.no_grad()
def test_folded_cls_attention_is_the_explicit_one():
    torch.manual_seed(0)
    attention = Attention(hidden=24, heads=3, dropout=0.0)
    rows = 3 * torch.randn(len(LENGTHS), max(LENGTHS), 24)
    folded = attention.of_cls(rows, Padded(torch.tensor(LENGTHS), max(LENGTHS), 5))
    explicit = torch.stack([explicit_cls_attention(attention, row[:n]) for row, n in zip(rows, LENGTHS, strict=True)])
    assert difference(folded, explicit) < 1e-5


@torch.no_grad()
def test_folded_cls_attention_drops_the_probabilities_that_the_explicit_one_drops():
    torch.manual_seed(0)
    attention = Attention(hidden=24, heads=3, dropout=0.4).train()
    rows = torch.randn(5, 7, 24)
    query = attention.query_global(rows[:, :1]).view(5, 1, 3, 8).transpose(1, 2)
    key, value = (
        projection(rows).view(5, 7, 3, 8).transpose(1, 2)
        for projection in (attention.key_global, attention.value_global)
    )
    weights = (query @ key.transpose(2, 3) / 8**0.5).softmax(-1)
    torch.manual_seed(1)
    explicit = dropout(weights, 0.4, training=True) @ value
    torch.manual_seed(1)
    folded = attention.of_cls(rows, Padded(torch.full((5,), 7), 7, 5))
    assert difference(folded, explicit.reshape(5, 24)) < 1e-5


@torch.no_grad()
def test_attention_probabilities_are_dropped_in_training_alone():
    torch.manual_seed(0)
    attention = Attention(hidden=24, heads=3, dropout=0.4)
    rows, layout = torch.randn(2, 7, 24), Padded(torch.tensor([7, 7]), 7, 3)
    first, second = (attention.train()(rows, layout) for _ in range(2))
    assert (first[:, 1:] - second[:, 1:]).abs().max() > 1e-2
    assert torch.equal(*(attention.eval()(rows, layout) for _ in range(2)))


@torch.no_grad()
def test_cls_only_is_the_first_row_of_the_layer():
    model = recformer()
    layer: Layer = model.layers[0]
    rows, layout = torch.randn(len(LENGTHS), max(LENGTHS), 32), Padded(torch.tensor(LENGTHS), max(LENGTHS), 5)
    assert difference(layer(rows, layout, only_cls=True), layer(rows, layout)[:, 0]) < 1e-6


def test_window_mask_by_hand():
    (mask,) = window_mask(torch.tensor([4]), width=5, window=1)[:, 0].int().tolist()
    assert mask == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 0, 1, 1, 0],
        [1, 0, 0, 0, 0],  # padding sees CLS, so that its softmax is defined
    ]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_a_batch_gives_what_each_row_gives_alone(pooling):
    model = recformer(window=8, pooling=pooling)
    batch = tokens(LENGTHS, window=8)
    apart = torch.cat([model(alone(batch, row)) for row in range(len(LENGTHS))])
    assert difference(model(batch), apart) < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_what_padding_holds_changes_nothing(pooling):
    model = recformer(pooling=pooling)
    before, after = tokens(LENGTHS), tokens(LENGTHS)
    for row, length in enumerate(LENGTHS):
        after.ids[row, length:], after.types[row, length:], after.items[row, length:] = 1, 3, 0
    assert torch.equal(model(before), model(after))


@pytest.mark.parametrize("part", ["ids", "types", "items"])
@torch.no_grad()
def test_every_kind_of_input_counts(part):
    model = recformer()
    before, after = tokens([60]), tokens([60])
    getattr(after, part)[0, 50] = {"ids": 4, "types": 0, "items": 0}[part]
    assert difference(model(after), model(before)) > 1e-4


def gradients(model) -> dict[str, float]:
    """The largest gradient of every weight, after a step on a random target."""
    torch.manual_seed(0)
    batch = tokens([40, 70])
    (model(batch) * torch.randn(2, 32)).sum().backward()
    return {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in model.named_parameters()}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_gradients_reach_every_weight_that_has_an_effect(pooling):
    found = gradients(recformer(pooling=pooling))
    # a key's bias adds the same to all scores and cancels in the softmax: exactly where folded, else up to rounding
    without = {f"layers.{n}.attention.{key}.bias" for n in range(3) for key in ("key", "key_global")}
    if pooling == "cls":  # the last layer's CLS has projections of its own
        without |= {f"layers.2.attention.{p}.{w}" for p in ("query", "key", "value") for w in ("weight", "bias")}
    assert {name for name, size in found.items() if size < 1e-4} == without


def test_rows_of_absent_words_and_positions_get_no_gradient():
    model = recformer()
    gradients(model)
    words = model.embeddings.word.weight.grad.abs().amax(1) > 0
    assert words[3]
    assert not words[:3].any()
    assert not model.embeddings.position.weight.grad[70:].any()
    assert not model.embeddings.token_type.weight.grad[3].any()


def test_dropout_is_for_training_only():
    model = recformer(dropout=0.3)
    batch = tokens([30])
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert difference(model(batch), model(batch)) > 1e-3


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("layers", range(3))
def test_the_layers_below_and_above_are_the_whole(pooling, layers):
    model, batch = recformer(pooling=pooling), tokens([30, 7, 1])
    assert torch.equal(model.above(model.below(batch, layers), batch.layout, layers), model(batch))


def test_something_is_left_to_train():
    model = recformer()
    model.freeze(0)
    assert all(weight.requires_grad for weight in model.parameters())
    with pytest.raises(LamarError, match=r"frozen_layers: 3 of 3; leave a layer to train"):
        model.freeze(3)
