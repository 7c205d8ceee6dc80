"""UniSRec's pre-training: the two views of a history, and the losses by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lamar.baselines.contrastive import Contrastive, Views, augment, contrast
from lamar.baselines.sequence import Shape
from lamar.baselines.unisrec import Unisrec
from lamar.models import train_pretrained_unisrec
from lamar.params import Pretraining, load
from lamar.training import fit
from lamar.training.examples import Sequences, Split, Users
from lamar.training.watch import Watch

REPOSITORY = Path(__file__).parents[2]
ITEMS, WIDTH = 20, 12
PAD = ITEMS
TEXTS, DROPPED = np.random.default_rng(0).normal(size=(2, ITEMS, WIDTH)).astype(np.float32)


def model() -> Unisrec:
    torch.manual_seed(0)
    made = Unisrec([], TEXTS, Shape(16, 1, 2, 0.0, 6, 4))
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return made.eval()


def by_hand(rows: np.ndarray, columns: np.ndarray, targets: list[int]) -> float:
    """The mean over rows i of -log(e^(i.i) / sum of e^(i.j)), j being i and the rows of another target."""
    losses = []
    for i, row in enumerate(rows):
        cosines = columns @ row / np.linalg.norm(columns, axis=1) / np.linalg.norm(row) / 0.07
        others = [cosines[j] for j in range(len(rows)) if j == i or targets[j] != targets[i]]
        losses.append(-np.log(np.exp(cosines[i]) / np.sum(np.exp(others))))
    return float(np.mean(losses))


def test_a_row_is_contrasted_with_those_of_other_targets():
    rows, columns = np.random.default_rng(1).normal(size=(2, 4, 5))
    targets = [3, 7, 3, 9]
    found = contrast(torch.from_numpy(rows), torch.from_numpy(columns), torch.tensor(targets)).item()
    assert found == pytest.approx(by_hand(rows, columns, targets), rel=1e-6)
    assert found != pytest.approx(by_hand(rows, columns, [0, 1, 2, 3]), rel=1e-3)


@torch.no_grad()
def test_the_loss_is_that_of_both_tasks():
    made = model()
    tasks = Contrastive(made, [], DROPPED, batch=4, positions_per_user=1).eval()
    histories = np.array([[PAD, PAD, 1, 2, 3], [4, 5, 6, 7, 8], [PAD, 9, 8, 7, 6]])
    augmented = np.array([[PAD, PAD, PAD, 1, 3], [4, 5 + ITEMS + 1, 6, 7, 8], [PAD, 9, 8, 7, 6]])
    targets = [4, 9, 4]
    texts = made.item(torch.from_numpy(TEXTS)), made.item(torch.from_numpy(DROPPED))
    items = torch.cat([texts[0], torch.zeros(1, 16), texts[1]])
    states, others = (made.states(torch.from_numpy(view), items)[:, -1].numpy() for view in (histories, augmented))
    expected = by_hand(states, items[targets].numpy(), targets) + 0.001 * by_hand(states, others, targets)
    assert tasks.loss(Views(histories, augmented, np.array(targets))).item() == pytest.approx(expected, rel=1e-4)


def test_a_view_leaves_out_items_or_their_words():
    rng = np.random.default_rng(0)
    items = np.arange(10, 30)
    views = [augment(items, 1000, rng) for _ in range(3000)]
    words = [view for view in views if view.max() >= 1000]
    fewer = [view for view in views if view.max() < 1000]
    assert len(words) / len(views) == pytest.approx(0.1, abs=0.02)
    assert all(np.array_equal(view % 1000, items) for view in words)
    assert np.mean([(view >= 1000).mean() for view in words]) == pytest.approx(0.2, abs=0.03)
    assert all(view[0] == 10 and np.isin(view, items).all() and (np.diff(view) > 0).all() for view in fewer)
    assert np.mean([len(view) for view in fewer]) == pytest.approx(1 + 0.8 * 19, abs=0.2)


def test_an_epoch_draws_positions_that_have_a_history():
    train = [np.array([5]), np.arange(3), np.arange(10, 20)]
    tasks = Contrastive(model(), train, DROPPED, batch=8, positions_per_user=50)
    batches = tasks.batches(np.random.default_rng(0))
    pairs = [pair for batch in batches for pair in zip(batch.histories, batch.targets, strict=True)]
    rows = [(row[row != PAD], target) for row, target in pairs]
    assert len(rows) == 2 * 50
    assert all(len(batch.histories) == len(batch.augmented) == len(batch.targets) <= 8 for batch in batches)
    assert {int(target) for _, target in rows} == {1, 2, *range(11, 20)}
    for history, target in rows:
        assert history[-1] == target - 1
        assert np.array_equal(history, np.arange(max(target - 6, 10 if target > 10 else 0), target))


def users() -> Users:
    """Everybody walks around the same circle of all items."""
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(4, 15))) % ITEMS for _ in range(80)]
    train = [items[:-2] for items in walks]
    longer = [items[:-1] for items in walks]
    last = [np.array([items[place] for items in walks]) for place in (-2, -1)]
    return Users(np.arange(80), train, Split(train, last[0]), Split(longer, last[1]))


def trained(epochs: int, pretraining: Pretraining) -> tuple[Unisrec, Users, list[tuple[int, int]]]:
    everybody = users()
    items = pl.DataFrame({"item": range(ITEMS)})
    sequences = Sequences(everybody, items, {"text": TEXTS, "dropped": TEXTS + 0.1 * DROPPED})
    sizes = {"hidden": 32, "layers": 1, "heads": 2, "dropout": 0.0, "max_items": 8, "batch": 32, "warmup_steps": 5}
    changes = sizes | {"learning_rate": 0.005, "patience": 30, "epochs": epochs, "pretraining": pretraining}
    run = load(REPOSITORY / "params.yaml").runs["unisrec-published-original"].model_copy(update=changes)
    told = []
    watch = Watch(lambda stage, epoch: told.append((stage, epoch.epoch)), lambda stage: None)
    return train_pretrained_unisrec(run, sequences, 0, watch), everybody, told


def test_pre_training_alone_learns_a_cycle_and_fine_tuning_goes_on_from_it():
    stage = Pretraining(epochs=20, batch=64, positions_per_user=4, frozen_encoder=True)
    model, everybody, told = trained(1, stage)
    run = load(REPOSITORY / "params.yaml").runs["unisrec-original"]
    assert fit.validation_ndcg(model, everybody.test, run) > 0.8  # a single epoch from nothing: 0.3
    assert told == [*((1, epoch) for epoch in range(1, 21)), (2, 1)]
    assert not any(weight.requires_grad for weight in model.encoder.parameters())
