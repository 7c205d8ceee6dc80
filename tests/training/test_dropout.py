"""Dropout from random bytes: its rate, its mean, its seed, and that evaluation is left alone."""

import pytest
import torch

from lamar.training.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_it_drops_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    values = dropout(torch.ones(1_000_003), rate, training=True)  # no multiple of eight
    assert (values == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
    assert values.mean().item() == pytest.approx(1, abs=0.01)
    assert len(values.unique()) == 2


def test_every_byte_of_a_word_is_random() -> None:
    torch.manual_seed(0)
    kept = dropout(torch.ones(100_000, 8), 0.5, training=True).bool().float()
    assert (kept.mean(0) - 0.5).abs().max() < 0.01
    assert (torch.corrcoef(kept.T) - torch.eye(8)).abs().max() < 0.02


def test_a_seed_gives_the_same_mask() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(torch.ones(5, 7), 0.3, training=True))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], dropout(torch.ones(5, 7), 0.3, training=True))


def test_gradients_pass_where_values_do() -> None:
    values = torch.ones(1000, requires_grad=True)
    kept = dropout(values, 0.25, training=True)
    kept.sum().backward()
    assert torch.equal(values.grad, kept.detach())


def test_evaluation_changes_nothing_and_draws_nothing() -> None:
    module = Dropout(0.5).eval()
    values = torch.randn(10)
    before = torch.get_rng_state()
    assert module(values) is values
    assert Dropout(0.0).train()(values) is values
    assert torch.equal(torch.get_rng_state(), before)
