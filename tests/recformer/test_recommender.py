"""Recformer as a recommender: item vectors, the two stages, and that it learns."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from encoders import recformer, saved
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from lamar.errors import LamarError
from lamar.models import train_recformer
from lamar.params import RecformerRun, load
from lamar.recformer.reading import TokenTable, filled
from lamar.recformer.recommender import TEMPERATURE, RecformerRecommender, cosines, log_likelihood
from lamar.recformer.weights import from_encoder
from lamar.text.tokens import tokenise
from lamar.training import fit
from lamar.training.examples import NO_ITEM, Examples, Sequences, Split, Users, draw
from lamar.training.watch import Watch

REPOSITORY = Path(__file__).parents[2]
ITEMS = 20
WORDS = [f"word{number}" for number in range(ITEMS)]
VOCABULARY = {word: number for number, word in enumerate(["[PAD]", "[CLS]", "?", "title", *WORDS])}
TITLES = pl.DataFrame({"item": range(ITEMS), "title": [f"{WORDS[item]} {WORDS[item - 1]}" for item in range(ITEMS)]})


def tokenizer() -> Tokenizer:
    words = Tokenizer(WordLevel(VOCABULARY, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    return words


def cycles(users: int) -> list[np.ndarray]:
    """Everybody walks around the same circle of all items, from a place of their own."""
    rng = np.random.default_rng(0)
    return [(rng.integers(ITEMS) + np.arange(rng.integers(4, 9))) % ITEMS for _ in range(users)]


def split_of(sequences: list[np.ndarray]) -> Split:
    return Split([items[:-1] for items in sequences], np.array([items[-1] for items in sequences]))


def settings(**changes) -> RecformerRun:
    """params.yaml's run, made small."""
    small = {
        "backbone": "tiny",
        "layers": 2,
        "frozen_layers": 0,
        "pooling": "cls",
        "dropout": 0.0,
        "max_items": 9,
        "max_tokens": 64,
        "places_per_user": 0,
        "positions_per_user": 2,
        "next_items": 1,
        "epochs": 15,
        "second_epochs": 2,
        "patience": 6,
        "batch": 16,
        "learning_rate": 0.002,
        "weight_decay": 0.0,
        "warmup_steps": 10,
        "precision": "float32",
    }
    return load(REPOSITORY / "params.yaml").runs["recformer-original"].model_copy(update=small | changes)


def recommender(train=(), **changes) -> RecformerRecommender:
    model = recformer(vocabulary=len(VOCABULARY), positions=80)
    catalogue = tokenise(TITLES, tokenizer(), 32)
    settings = {"max_tokens": 64, "batch": 16, "positions_per_user": 2, "next_items": 3} | changes
    return RecformerRecommender(model, catalogue, train, cls=1, **settings)


@torch.no_grad()
def scored(model: RecformerRecommender, histories: list[np.ndarray]) -> np.ndarray:
    scores = np.full((len(histories), ITEMS), np.nan, np.float32)
    for rows, part in model.scores(histories):
        scores[rows] = part
    return scores


@pytest.fixture
def renewed() -> RecformerRecommender:
    model = recommender(cycles(30))
    with torch.no_grad():
        model.renew()
    return model


def test_an_item_alone_is_its_own_vector(renewed):
    own = scored(renewed, [np.array([item]) for item in range(ITEMS)])
    np.testing.assert_allclose(np.diag(own), 1, atol=1e-5)
    assert np.abs(own).max() < 1 + 1e-5


def test_histories_of_any_length_are_scored_alike_together_and_alone(renewed):
    histories = [np.arange(length) for length in (5, 0, 12, 1, 20, 2)]
    alone = np.concatenate([scored(renewed, [history]) for history in histories])
    np.testing.assert_allclose(scored(renewed, histories), alone, atol=1e-5)


def test_only_the_most_recent_items_count(renewed):
    history = np.arange(ITEMS)
    np.testing.assert_allclose(scored(renewed, [history]), scored(renewed, [history[-9:]]), atol=1e-6)


def test_the_loss_is_over_cosines_divided_by_the_temperature(renewed):
    histories, targets = [np.arange(length) for length in (0, 3, 12)], np.array([[4], [3], [9]])
    renewed.eval()
    surprise = -torch.from_numpy(scored(renewed, histories) / TEMPERATURE).log_softmax(-1).numpy()
    expected = np.mean([surprise[0, 4], surprise[1, 3], surprise[2, 9]])
    assert renewed.loss(Examples(histories, targets)).item() == pytest.approx(expected, rel=1e-4)


def test_next_items_share_the_weight_of_their_history(renewed):
    histories = [np.arange(length) for length in (0, 3)]
    targets = np.array([[4, 5, 6], [3, NO_ITEM, NO_ITEM]])
    renewed.eval()
    surprise = -torch.from_numpy(scored(renewed, histories) / TEMPERATURE).log_softmax(-1).numpy()
    expected = np.mean([surprise[0, 4:7].mean(), surprise[1, 3]])
    assert renewed.loss(Examples(histories, targets)).item() == pytest.approx(expected, rel=1e-4)


def test_cosines_are_float32_in_a_bfloat16_run(renewed):
    with torch.autocast("cpu", torch.bfloat16):
        found = cosines(renewed.items, renewed.items)
    assert torch.equal(found, renewed.items @ renewed.items.T)


def test_sampled_softmax_by_hand():
    logits, targets = torch.arange(12.0).view(2, 6), torch.tensor([[5, 0], [2, 3]])
    drawn = torch.tensor([[1, 1, 5, 0], [4, 2, 0, 3]])
    likely = log_likelihood(logits, targets, drawn)
    for row, items in enumerate(targets.tolist()):
        for place, item in enumerate(items):
            told_apart = logits[row, [item, *drawn[row].tolist()]]
            assert likely[row, place].item() == pytest.approx(told_apart.log_softmax(0)[0].item(), rel=1e-5)


def test_negatives_are_drawn_alike_from_all_items_with_replacement():
    torch.manual_seed(0)
    sevens = (recommender(negatives=1000)._rivals(4000) == 7).sum(1).float()
    share = 1 / ITEMS
    assert sevens.mean().item() == pytest.approx(1000 * share, abs=5 * (1000 * share * (1 - share) / 4000) ** 0.5)
    assert sevens.std().item() == pytest.approx((1000 * share * (1 - share)) ** 0.5, rel=0.1)


def test_the_loss_over_sampled_items(renewed):
    batch = Examples([np.arange(length) for length in (0, 3, 12)], np.array([[4], [3], [9]]))
    renewed.eval()
    few = recommender(negatives=5).eval()
    few.load_state_dict(renewed.state_dict())
    logits = torch.from_numpy(scored(renewed, batch.histories)) / TEMPERATURE
    torch.manual_seed(1)
    expected = -log_likelihood(logits, torch.from_numpy(batch.targets), few._rivals(3)).mean()
    torch.manual_seed(1)
    assert few.loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_whole_catalogue_needs_no_random_number(renewed):
    before = torch.get_rng_state()
    renewed.loss(Examples([np.arange(3)], np.array([[4]])))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_draws_every_user_as_often_as_asked(renewed):
    batches = renewed.batches(np.random.default_rng(0))
    assert sum(len(batch.targets) for batch in batches) == 2 * 30
    assert all(len(batch.histories) == len(batch.targets) <= 16 for batch in batches)


def test_more_tokens_than_the_backbone_has_positions_for():
    recommender(max_tokens=80)
    with pytest.raises(LamarError, match="max_tokens: 81, but the backbone reads at most 80"):
        recommender(max_tokens=81)


@pytest.mark.parametrize("constant", [False, True])
def test_item_vectors_are_constant_in_the_second_stage_alone(constant):
    model = recommender(cycles(30))
    with torch.no_grad():
        model.renew()
    items, words = model.items.clone(), model.model.embeddings.word.weight.clone()
    model.items_are_constant = constant
    curve = fit.fit(model, split_of(cycles(30)), settings(), epochs=5, seed=0, seen=lambda epoch: None)
    best = max(curve, key=lambda epoch: epoch.validation)
    assert best.epoch > 1  # in the first, the vectors are those of the start in either stage
    assert not torch.equal(model.model.embeddings.word.weight, words)
    assert torch.equal(model.items, items) == constant


def trained(tmp_path, **changes) -> tuple[RecformerRecommender, float, list[tuple[int, int]]]:
    """A recommender that learned the circle, NDCG@10 on items it was not trained on, and the epochs it took."""
    backbone = tmp_path / "models/backbones/tiny"
    sizes = {"initializer_range": 0.02, "num_hidden_layers": 2}  # as a fresh BERT
    saved(backbone, "bert", **sizes, vocab_size=len(VOCABULARY))
    tokenizer().save(str(backbone / "tokenizer.json"))
    everything = cycles(200)
    test, validation = split_of(everything), split_of([items[:-1] for items in everything])
    users = Users(np.arange(200), validation.histories, validation, test)
    epochs = []
    run = settings(**changes)
    watch = Watch(lambda stage, epoch: epochs.append((stage, epoch.epoch)), lambda stage: None)
    model = train_recformer(run, Sequences(users, TITLES), 0, watch)
    return model, fit.validation_ndcg(model, test, run), epochs


@pytest.mark.parametrize(("pooling", "precision"), [("cls", "float32"), ("mean", "bfloat16")])
def test_it_learns_a_cycle_of_texts(tmp_path, monkeypatch, pooling, precision):
    monkeypatch.chdir(tmp_path)
    _, ndcg, epochs = trained(tmp_path, pooling=pooling, precision=precision)
    assert ndcg > 0.8  # untrained: 0.2
    assert {stage for stage, _ in epochs} == {1, 2}


def test_it_learns_against_sampled_items(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, ndcg, _ = trained(tmp_path, negatives=8)
    assert ndcg > 0.8


def test_frozen_layers_stay_with_the_embeddings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, _, _ = trained(tmp_path, frozen_layers=1, learning_rate=0.01, epochs=3, second_epochs=0)
    now = model.model.state_dict()
    backbone = tmp_path / "models/backbones/tiny"
    before = from_encoder(backbone, model.model.shape).state_dict()
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)


def frozen_pair() -> tuple[RecformerRecommender, RecformerRecommender]:
    """The same model twice, its first layer frozen; the second keeps to four places of every user."""
    train = cycles(30)
    free, kept = (recommender(train, next_items=1) for _ in range(2))
    for model in (free, kept):
        model.model.freeze(1)
        model.load_state_dict(free.state_dict())
    with torch.no_grad():
        kept.keep_to(4, [np.arange(3)], np.random.default_rng(0))
        free.renew()
        kept.renew()
    return free, kept


def test_what_is_remembered_changes_nothing():
    free, kept = frozen_pair()
    assert torch.allclose(free.items, kept.items, atol=1e-6)
    seen_and_new = [np.arange(3), np.array([], np.int64), np.arange(2, 11)]
    np.testing.assert_allclose(scored(kept, seen_and_new), scored(free, seen_and_new), atol=1e-6)
    batch = kept.batches(np.random.default_rng(1))[0]
    for model in (free, kept):
        model.train()
        model.loss(batch).backward()
    assert kept.model.layers[1].output.weight.grad.any()
    for (name, one), (_, other) in zip(free.named_parameters(), kept.named_parameters(), strict=True):
        frozen = name.startswith(("model.embeddings", "model.layers.0"))
        assert not frozen or one.grad is other.grad is None, name
        assert one.grad is None or torch.allclose(one.grad, other.grad, atol=1e-5), name


def test_what_is_remembered_is_not_read_again(monkeypatch):
    _, kept = frozen_pair()
    monkeypatch.setattr(kept.model, "below", None)
    for batch in kept.batches(np.random.default_rng(2)):
        kept.loss(batch)
    scored(kept, [np.arange(3)])
    with pytest.raises(TypeError):
        scored(kept, [np.arange(4)[::-1]])


def test_an_epoch_keeps_to_the_places_of_each_user():
    _, kept = frozen_pair()
    seen = set()
    for epoch in range(40):
        histories = [history for batch in kept.batches(np.random.default_rng(epoch)) for history in batch.histories]
        assert len(histories) == 2 * 30
        seen |= {history.tobytes() for history in histories}
    drawn = draw(kept._train, 4, 1, np.random.default_rng(0))
    assert seen == {history.tobytes() for history in drawn.histories}


def test_more_places_than_memory_are_read_each_time(monkeypatch, capsys):
    monkeypatch.setattr("lamar.recformer.recommender.REMEMBERED_BYTES", 2**16)
    free, kept = frozen_pair()
    assert "remembering takes 0." in capsys.readouterr().err
    batch = kept.batches(np.random.default_rng(1))[0]
    assert kept._remembered.get(batch.histories) is None
    assert kept.eval().loss(batch).item() == pytest.approx(free.eval().loss(batch).item(), rel=1e-5)


def test_it_learns_above_frozen_layers_that_are_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, ndcg, _ = trained(tmp_path, frozen_layers=1, places_per_user=3, pooling="mean", precision="bfloat16")
    assert ndcg > 0.5  # untrained: 0.2


def test_a_tokenizer_without_cls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(VOCABULARY, "[CLS]")
    with pytest.raises(LamarError, match=r"tokenizer\.json: has neither \[CLS\] nor <s>"):
        trained(tmp_path)


def test_what_a_captured_step_reads_gives_the_loss_and_gradients_of_the_batch(monkeypatch):
    batch = Examples([np.arange(n) for n in (3, 0, 7)], np.array([[3, 4], [0, NO_ITEM], [7, 8]]))
    found = []
    for packs in (False, True):
        monkeypatch.setattr(TokenTable, "packs", packs)
        model = recommender(cycles(3), batch=3)
        model.renew()
        read = model.read(batch)
        loss = model.loss_of(read) if packs else model.loss(batch)
        assert packs or read is None
        loss.backward()
        found.append([loss, *(weight.grad for weight in model.parameters() if weight.grad is not None)])
    size = len(read.text.ids)
    assert size == filled(int(read.text.layout.lengths.sum()))
    largest = max(gradient.abs().max() for gradient in found[0][1:])
    for expected, ours in zip(*found, strict=True):
        assert (ours - expected).abs().max() < 1e-5 * largest


def test_a_batch_that_is_not_whole_is_not_captured(monkeypatch):
    monkeypatch.setattr(TokenTable, "packs", True)
    model = recommender(cycles(3), batch=4)
    assert model.read(draw(cycles(3), 1, 1, np.random.default_rng(0))) is None


def test_batches_of_remembered_states_are_of_similar_length_on_a_gpu_too(monkeypatch):
    monkeypatch.setattr(TokenTable, "packs", True)
    model = recommender([np.arange(n % 19 + 1) for n in range(200)], batch=8)
    model.model.freeze(1)
    model.keep_to(2, [], np.random.default_rng(0))
    batches = model.batches(np.random.default_rng(1))
    spread = [np.ptp(model.texts.lengths(batch.histories)) for batch in batches]
    assert np.mean(spread) < 0.2 * max(
        model.texts.lengths([history for batch in batches for history in batch.histories])
    )
