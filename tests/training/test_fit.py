"""The training loop, on a model whose whole course is known beforehand."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lamar.errors import LamarError
from lamar.params import SasrecRun, load
from lamar.training import fit
from lamar.training.checkpoint import Checkpoint
from lamar.training.examples import Split

REPOSITORY = Path(__file__).parents[2]
VALIDATION = Split([np.array([1])], np.array([0]))


def settings(**changes) -> SasrecRun:
    """params.yaml's run, with a plain optimizer."""
    plain = {"learning_rate": 0.1, "weight_decay": 0.0, "warmup_steps": 0, "patience": 3, "validation_users": 0}
    return load(REPOSITORY / "params.yaml").runs["sasrec"].model_copy(update=plain | changes)


class Walker(nn.Module):
    """Walks from 0 to the right: the gradient is constant, so that Adam's step is the learning rate itself.

    The target, item 0, is scored by the nearness of `summit`, the others by fixed distances from it.
    """

    def __init__(self, summit: float = 1.0, batches: int = 2) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))
        self.summit = summit
        self.visited: list[float] = []
        self.renewed: list[float] = []
        self._batches = batches

    def batches(self, rng):
        return [None] * self._batches

    def loss(self, batch):
        self.visited.append(self.place.item())
        return -self.place

    def renew(self):
        self.renewed.append(self.place.item())

    def scores(self, histories):
        distances = [abs(self.place.item() - self.summit), *np.arange(0.1, 3, 0.1)]
        yield np.arange(len(histories)), -torch.tensor(distances).tile(len(histories), 1)


def walk(model: Walker, epochs: int, **changes) -> list[fit.Epoch]:
    return fit.fit(model, VALIDATION, settings(**changes), epochs, seed=0, seen=lambda epoch: None)


def test_the_best_epoch_is_restored():
    model = Walker(summit=0.5)
    curve = walk(model, epochs=20, patience=20)
    best = max(curve, key=lambda epoch: epoch.validation)
    assert len(curve) == 21
    assert curve[0].validation < best.validation > curve[-1].validation
    assert best.validation == 1.0  # the summit: nothing is scored higher
    assert fit.validation_ndcg(model, VALIDATION, settings()) == best.validation
    assert model.place.item() == pytest.approx(model.visited[2 * best.epoch])
    assert model.place.item() == pytest.approx(0.5, abs=0.1)


def test_training_stops_after_patience_epochs_without_a_better_one():
    curve = walk(Walker(summit=0.5), epochs=50, patience=4)
    scores = [epoch.validation for epoch in curve]
    assert len(curve) - 1 == int(np.argmax(scores)) + 4
    assert [epoch.epoch for epoch in curve] == list(range(len(curve)))


def test_without_any_progress_the_weights_stay():
    model = Walker(summit=-1.0)
    curve = walk(model, epochs=50, patience=3)
    assert len(curve) == 1 + 3
    assert model.place.item() == 0.0


def test_every_epoch_is_told_as_it_ends():
    told = []
    model = Walker()
    curve = fit.fit(model, VALIDATION, settings(), 3, seed=0, seen=lambda e: told.append((e, len(model.visited))))
    assert [epoch for epoch, _ in told] == curve[1:]
    assert [batches for _, batches in told] == [2, 4, 6]
    assert curve[1].loss == pytest.approx(-np.mean(model.visited[:2]))


def test_what_scoring_reads_is_renewed_before_every_epoch():
    model = Walker(summit=9)
    walk(model, epochs=3, patience=9)
    assert model.renewed == model.visited[::2]


def learning_rates(warmup: int, epochs: int, batches: int) -> np.ndarray:
    """The share of the learning rate that every step took."""
    model = Walker(summit=99, batches=batches)
    walk(model, epochs=epochs, patience=epochs, warmup_steps=warmup, learning_rate=0.01)
    return np.array([(after - before) / 0.01 for before, after in pairwise(model.visited)])


def test_the_learning_rate_rises_and_falls_to_zero():
    taken = learning_rates(warmup=5, epochs=5, batches=5)  # 25 steps; the last is taken after the last visit
    assert taken[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], abs=1e-3)
    assert taken[5:] == pytest.approx(np.arange(20, 1, -1) / 20, abs=1e-3)


def test_without_warm_up_the_first_step_is_whole():
    assert learning_rates(warmup=0, epochs=2, batches=5) == pytest.approx(np.arange(10, 1, -1) / 10, abs=1e-3)


def test_a_warm_up_longer_than_the_training_never_ends():
    taken = learning_rates(warmup=100, epochs=1, batches=10)
    assert taken == pytest.approx(np.arange(1, 10) / 100, abs=1e-3)


class Broken(Walker):
    def loss(self, batch):
        return self.place * math.nan


def test_a_nan_is_an_error_of_one_line():
    with pytest.raises(LamarError, match="NaN: lower the learning rate"):
        walk(Broken(), epochs=1)


class ByHistory(nn.Module):
    """Scores item i with the i-th of four numbers, a batch at a time in another order than asked."""

    def scores(self, histories):
        for rows in (np.array([2, 0]), np.array([1])):
            yield rows, torch.tensor(np.stack([histories[row] for row in rows]), dtype=torch.float32)


def test_ranks_belong_to_the_rows_that_were_asked():
    split = Split([np.array([4, 3, 2, 1]), np.array([1, 1, 1, 2]), np.array([0, 9, 9, 9])], np.array([1, 0, 0]))
    greater, equal, candidates = fit.ranks(ByHistory(), split, settings())
    assert greater.tolist() == [1, 1, 3]
    assert equal.tolist() == [0, 2, 0]
    assert candidates == 4


class Counting(Walker):
    """Keeps the histories that it was asked to score."""

    def scores(self, histories):
        self.asked = [int(history[0]) for history in histories]
        yield from super().scores(histories)


def validated(users: int) -> list[int]:
    everybody = Split([np.array([user]) for user in range(50)], np.zeros(50, np.int64))
    model = Counting()
    fit.fit(model, everybody, settings(validation_users=users), 1, seed=users, seen=lambda epoch: None)
    return model.asked


def test_validation_users_are_the_same_for_every_seed():
    assert validated(0) == validated(50) == validated(1000) == list(range(50))
    ten, twenty = validated(10), validated(20)
    assert len(set(ten)) == 10
    assert set(ten) < set(twenty)


@pytest.mark.parametrize("captured", [False, True])
def test_graphs_find_gradients_where_they_were(captured):
    course = fit.course_of(Walker(), settings(), seed=0)
    course.steps = 2
    course.model.loss(None).backward()
    course.graphs = object() if captured else None
    gradient = course.model.place.grad
    course.take_step()
    assert course.model.place.grad is (gradient if captured else None)
    assert not captured or gradient == 0


def test_little_is_written_where_epochs_are_short(monkeypatch, tmp_path):
    checkpoint = Checkpoint(tmp_path / "stage.safetensors", "these settings")
    monkeypatch.setitem(fit.UNSAVED, "cpu", math.inf)
    fit.fit(Walker(), VALIDATION, settings(), 2, seed=0, seen=lambda epoch: None, checkpoint=checkpoint)
    assert not checkpoint.path.exists()
    monkeypatch.setitem(fit.UNSAVED, "cpu", 0.0)
    fit.fit(Walker(), VALIDATION, settings(), 2, seed=0, seen=lambda epoch: None, checkpoint=checkpoint)
    assert checkpoint.path.exists()
