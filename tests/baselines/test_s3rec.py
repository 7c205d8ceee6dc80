"""S3-Rec: what its objectives ask, their losses by hand, and that attributes help where they say what comes next."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sequence_scores import random_history, scored

from lamar.baselines.s3rec import S3rec, Views, segmented, told_apart, wrong_items
from lamar.baselines.sasrec import PublishedSasrec, Sasrec
from lamar.baselines.sequence import Shape, of_items
from lamar.models import train_s3rec
from lamar.params import S3recRun, S3recWeights, load
from lamar.training import fit
from lamar.training.examples import Sequences, Split, Users
from lamar.training.watch import Watch

REPOSITORY = Path(__file__).parents[2]
ITEMS = 20
PAD, MASK = ITEMS, ITEMS + 1
ATTRIBUTES = np.random.default_rng(0).random((ITEMS, 5)) < 0.4
WEIGHTS = S3recWeights(attributes=0.2, masked_items=1.0, masked_attributes=3.0, segments=0.5)


def s3rec(train=(), *, max_items=6, batch=4, mask_share=0.2) -> S3rec:
    torch.manual_seed(0)
    shape = Shape(16, 2, 2, 0.0, max_items, batch)
    model = S3rec(train, ATTRIBUTES, shape, mask_share=mask_share, weights=WEIGHTS)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)  # a fresh model's attention is close to uniform
    return model.eval()


BATCH = Views(
    items=np.array([[PAD, 3, 4, 5, 6], [7, 8, 9, 10, 11]]),
    hidden=np.array([[False, False, True, False, True], [False, True, False, False, True]]),
    wrong=np.array([[PAD, 0, 1, 2, 12], [13, 14, 15, 16, 17]]),
    context=np.array([[PAD, 3, MASK, MASK, 6], [MASK, 8, 9, 10, 11]]),
    segment=np.array([[PAD, MASK, 4, 5, MASK], [7, MASK, MASK, MASK, MASK]]),
    other=np.array([[PAD, MASK, 18, 19, MASK], [0, MASK, MASK, MASK, MASK]]),
)
READ = np.array([[PAD, 3, MASK, 5, MASK], [7, MASK, 9, 10, MASK]])
SEEN = [(0, 1, 3), (0, 3, 5), (1, 0, 7), (1, 2, 9), (1, 3, 10)]  # row, place, item
HIDDEN = [(0, 2, 4, 1), (0, 4, 6, 12), (1, 1, 8, 14), (1, 4, 11, 17)]  # and the wrong item


def states(model: S3rec, view: np.ndarray) -> np.ndarray:
    return model.states(torch.from_numpy(view), model.vectors()).numpy()


def projected(model: S3rec, objective: str, state: np.ndarray) -> np.ndarray:
    layer = model.projection[objective]
    return layer.weight.numpy() @ state + layer.bias.numpy()


def sigmoid(score: float) -> float:
    return 1 / (1 + np.exp(-score))


def attribute_loss(model: S3rec, objective: str, places: list[tuple[int, ...]]) -> float:
    """Attribute by attribute: -log of the chance given to what is true."""
    found, loss = states(model, READ), 0.0
    for row, place, item, *_ in places:
        guess = projected(model, objective, found[row, place])
        for vector, has in zip(model.attribute.numpy(), ATTRIBUTES[item], strict=True):
            chance = sigmoid(vector @ guess)
            loss -= np.log(chance if has else 1 - chance)
    return loss


@torch.no_grad()
@pytest.mark.parametrize(("objective", "places"), [("attributes", SEEN), ("masked_attributes", HIDDEN)])
def test_attributes_are_asked_of_seen_and_of_masked_places(objective, places):
    model = s3rec()
    assert model.losses(BATCH)[objective].item() == pytest.approx(attribute_loss(model, objective, places), rel=1e-4)


@torch.no_grad()
def test_masked_items_are_told_from_wrong_ones():
    model = s3rec()
    found, vectors, loss = states(model, READ), model.vectors().numpy(), 0.0
    for row, place, item, wrong in HIDDEN:
        guess = projected(model, "masked_items", found[row, place])
        loss -= np.log(sigmoid(sigmoid(guess @ vectors[item]) - sigmoid(guess @ vectors[wrong])))
    assert model.losses(BATCH)["masked_items"].item() == pytest.approx(loss, rel=1e-4)


@torch.no_grad()
def test_segments_are_told_from_others_by_what_is_around_them():
    model = s3rec()
    context, segment, other = (states(model, view)[:, -1] for view in (BATCH.context, BATCH.segment, BATCH.other))
    loss = 0.0
    for row in range(2):
        gap = projected(model, "segments", context[row])
        loss -= np.log(sigmoid(sigmoid(gap @ segment[row]) - sigmoid(gap @ other[row])))
    assert model.losses(BATCH)["segments"].item() == pytest.approx(loss, rel=1e-4)


@torch.no_grad()
def test_the_loss_is_the_weighed_sum_for_one_window():
    model = s3rec()
    losses = {name: loss.item() for name, loss in model.losses(BATCH).items()}
    expected = (
        0.2 * losses["attributes"] + losses["masked_items"] + 3 * losses["masked_attributes"] + 0.5 * losses["segments"]
    )
    assert model.loss(BATCH).item() == pytest.approx(expected / 2, rel=1e-5)


def test_told_apart_by_hand():
    states, right, wrong = torch.tensor([[[1.0, 2.0]], [[0.5, 0.0]], [[0.0, -1.0]]])
    expected = np.log(1 + np.exp(sigmoid(-2.0) - sigmoid(0.5)))
    assert told_apart(states, right, wrong).item() == pytest.approx(expected)
    assert told_apart(states, wrong, right).item() == pytest.approx(np.log(1 + np.exp(sigmoid(0.5) - sigmoid(-2.0))))


@torch.no_grad()
def test_padding_changes_no_loss():
    model = s3rec()
    wider = Views(*(np.pad(view, ((0, 0), (1, 0)), constant_values=fill) for view, fill in zip(
        vars(BATCH).values(), (PAD, False, PAD, PAD, PAD, PAD), strict=True
    )))  # fmt: skip
    before = model.losses(BATCH)
    model.item.weight[PAD] += 5
    for name, loss in model.losses(wider).items():
        assert loss.item() == pytest.approx(before[name].item(), rel=1e-4), name


def test_histories_of_any_length_are_scored_alike_together_and_alone():
    model = s3rec(batch=1)  # scores four at a time
    histories = [random_history(ITEMS, length, seed=length) for length in (3, 0, 6, 1, 5, 2, 4)]
    alone = np.concatenate([scored(model, [history]) for history in histories])
    np.testing.assert_allclose(scored(model, histories), alone, atol=1e-5)
    assert len(np.unique(alone.round(4), axis=0)) == len(histories)


@torch.no_grad()
def test_scores_are_those_of_the_item_masked_behind_a_history():
    model = s3rec()
    history = random_history(ITEMS, 4)
    guess = projected(model, "masked_items", states(model, np.append(history, MASK)[None])[0, -1])
    np.testing.assert_allclose(
        scored(model, [history])[0], model.vectors()[:ITEMS].numpy() @ guess, rtol=1e-4, atol=1e-5
    )


EVERYTHING = np.arange(100, 200)


@pytest.mark.parametrize("length", [2, 3, 6, 7])
def test_a_segment_is_at_most_half_of_a_window_and_nowhere_in_its_context(length):
    rng = np.random.default_rng(0)
    window = np.arange(length)
    sizes, starts = set(), set()
    for _ in range(500):
        context, segment, other = segmented(window, EVERYTHING, MASK, rng)
        inside = context == MASK
        places = np.flatnonzero(inside)
        assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
        assert not set(context) & set(segment) - {MASK}
        assert np.array_equal(np.where(inside, segment, context), window)
        assert (segment == MASK).tolist() == (other == MASK).tolist() == (~inside).tolist()
        assert np.array_equal(np.diff(other[inside]), np.ones(len(places) - 1))  # a piece of everything, in order
        sizes.add(len(places))
        starts.add((len(places), int(places[0])))
    assert sizes == set(range(1, length // 2 + 1))
    assert starts == {(size, start) for size in sizes for start in range(length - size + 1)}


def test_other_items_in_the_segment_leave_its_context_and_its_rival_as_they_are():
    window = random_history(ITEMS, 6)
    views = segmented(window, EVERYTHING, MASK, np.random.default_rng(3))
    changed = np.where(views[0] == MASK, (window + 1) % ITEMS, window)
    again = segmented(changed, EVERYTHING, MASK, np.random.default_rng(3))
    assert np.array_equal(again[0], views[0])
    assert np.array_equal(again[2], views[2])
    assert not np.array_equal(again[1], views[1])


def test_wrong_items_are_uniform_over_those_a_window_lacks():
    rng = np.random.default_rng(0)
    window = np.array([3, 3, 5])
    drawn = np.concatenate([wrong_items(window, ITEMS, rng) for _ in range(2000)])
    counts = np.bincount(drawn, minlength=ITEMS)
    assert set(np.flatnonzero(counts)) == set(range(ITEMS)) - {3, 5}
    assert counts.max() < 1.4 * counts[counts > 0].min()
    assert wrong_items(np.array([2, 0, 1]), 3, rng).max() < 3  # nothing is lacking: anything


TRAIN = [random_history(ITEMS, length, seed=length) for length in (1, 2, 3, 5, 6, 7, 13, 40)]


def test_an_epoch_covers_the_training_sequences_and_masks_the_last_of_every_window():
    model = s3rec(TRAIN, mask_share=0.5)
    rng = np.random.default_rng(0)
    epochs = [model.batches(rng) for _ in range(100)]
    for batches in epochs[:5]:
        found = [tuple(row[row != PAD]) for batch in batches for row in batch.items]
        assert sum(len(window) - 1 for window in found) == sum(len(items) - 1 for items in TRAIN)
    every = [batch for batches in epochs for batch in batches]
    assert all(len(batch.items) <= 4 and batch.hidden[:, -1].all() for batch in every)
    assert all(
        ((view == PAD) == (batch.items == PAD)).all() for batch in every for view in (batch.wrong, batch.context)
    )
    assert not any(batch.hidden[batch.items == PAD].any() for batch in every)
    before_last = np.concatenate([batch.hidden[:, :-1][batch.items[:, :-1] != PAD] for batch in every])
    assert before_last.mean() == pytest.approx(0.5, abs=0.03)
    for batch in every:
        assert all(not set(row) & set(wrong) - {PAD} for row, wrong in zip(batch.items, batch.wrong, strict=True))


GROUPS, SIZE = 6, 8
CATALOGUE = GROUPS * SIZE
GENRES = np.repeat([f"genre {group}" for group in range(GROUPS)], SIZE)


def planted() -> Users:
    """Genres follow each other in a circle; which of its items a user takes is chance."""
    rng = np.random.default_rng(0)
    walks = []
    for _ in range(60):
        groups = (rng.integers(GROUPS) + np.arange(rng.integers(6, 9))) % GROUPS
        walks.append(groups * SIZE + rng.integers(SIZE, size=len(groups)))
    train = [items[:-2] for items in walks]
    last = [np.array([items[place] for items in walks]) for place in (-2, -1)]
    return Users(np.arange(60), train, Split(train, last[0]), Split([items[:-1] for items in walks], last[1]))


def run(**changes) -> S3recRun:
    chosen = load(REPOSITORY / "params.yaml").runs["s3rec-original"]
    sizes = {"hidden": 32, "layers": 1, "heads": 2, "dropout": 0.0, "max_items": 8, "batch": 16, "warmup_steps": 5}
    pretraining = chosen.pretraining.model_copy(update={"epochs": 60, "batch": 16})
    more = {"learning_rate": 0.01, "patience": 60, "epochs": 4, "pretraining": pretraining}
    return chosen.model_copy(update=sizes | more | changes)


def trained(genres: np.ndarray, **changes) -> tuple[Sasrec, list[tuple[int, int, float]]]:
    sequences = Sequences(planted(), pl.DataFrame({"item": range(CATALOGUE), "genre": genres}))
    told = []
    watch = Watch(lambda stage, epoch: told.append((stage, epoch.epoch, epoch.loss)), lambda stage: None)
    return train_s3rec(run(**changes), sequences, 0, watch), told


def test_attributes_that_say_what_comes_next_help_and_shuffled_ones_do_not():
    users = planted()
    model, told = trained(GENRES)
    placebo, _ = trained(np.random.default_rng(0).permutation(GENRES))
    torch.manual_seed(0)
    alone = Sasrec(users.train, CATALOGUE, Shape(32, 1, 2, 0.0, 8, 16))
    fit.fit(alone, users.validation, run(), epochs=4, seed=0, seen=lambda epoch: None)
    with_genres, with_others, without = (
        fit.validation_ndcg(each, users.test, run()) for each in (model, placebo, alone)
    )
    assert with_genres > 0.2  # 0.49 for whoever knows the next genre, 0.09 by chance
    assert max(with_others, without) < 0.15
    losses = [loss for stage, _, loss in told if stage == 1]
    assert losses[-1] < 0.5 * losses[0]
    assert [stage for stage, *_ in told] == [1] * len(losses) + [2] * 4


@pytest.mark.parametrize(("loss", "kind"), [("cross-entropy", Sasrec), ("bce", PublishedSasrec)])
def test_fine_tuning_is_sasrec_s(loss, kind):
    short = run().pretraining.model_copy(update={"epochs": 1})
    model, _ = trained(GENRES, loss=loss, epochs=1, pretraining=short)
    assert type(model) is kind
    assert model.encoder.causal


def test_gradients_are_the_same_bits_with_several_threads():
    """Of as many vectors as threads share; with indexing they differed nearly every time."""
    threads, found = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    items, given = torch.randint(50, (4000,)), torch.randn(4000, 64)
    try:
        for _ in range(20):
            vectors = torch.ones(1000, 64, requires_grad=True)
            of_items(vectors, items).backward(given)
            found.add(vectors.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1
