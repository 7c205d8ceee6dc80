"""Two processes that talk through gloo train as one does with the same batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import worker
import yaml
from encoders import saved
from test_pretrain import prepared
from test_recommender import ITEMS, TITLES, VOCABULARY, tokenizer
from together import Left, Together, launch

REPOSITORY = Path(__file__).parents[2]
USERS = 16  # batches of 5, 5, 5 and 1: shares of 3 and 2, and of 1 and none
SMALL = {
    "backbone": "tiny",
    "layers": 2,
    "frozen_layers": 0,
    "pooling": "mean",
    "dropout": 0.0,
    "max_items": 9,
    "max_tokens": 64,
    "positions_per_user": 1,
    "epochs": 3,
    "patience": 3,
    "batch": 5,
    "accumulate": 2,
    "learning_rate": 0.003,
    "warmup_steps": 2,
    "precision": "float32",
}
RUN = SMALL | {"second_epochs": 1, "seeds": [0, 1], "places_per_user": 0, "next_items": 2, "negatives": 6}
PRETRAINED = SMALL | {"sources": {"ml-100k": ["title"]}, "masked": 0.5, "masked_weight": 1.0}
PRETRAIN, TRAIN = ("pretrain", "tiny-circle"), ("train", "ml-100k", "tiny")
EPOCH = 4  # losses
CUT = 2 * EPOCH + 2  # the loss of fine-tuning at which the second process fails


def settle(folder: Path) -> None:
    """Everything that the two stages read."""
    prepared(folder / "data/prepared/ml-100k", ITEMS, USERS, seed=0)
    sequences = folder / "data/sequences/ml-100k/tiny"
    sequences.mkdir(parents=True)
    walks = [np.arange(start, start + 4 + start % 5) % ITEMS for start in range(USERS)]
    users = [(user, walk[:-2].tolist(), walk[-2], walk[-1]) for user, walk in enumerate(walks)]
    columns = ["user", "train", "validation", "test"]
    pl.DataFrame(users, columns, orient="row").write_parquet(sequences / "histories.parquet")
    TITLES.write_parquet(sequences / "items.parquet")
    backbone = folder / "models/backbones/tiny"
    saved(backbone, "bert", vocab_size=len(VOCABULARY) + 1, num_hidden_layers=2, initializer_range=0.1)
    words = tokenizer()
    words.add_special_tokens(["[MASK]"])
    words.save(str(backbone / "tokenizer.json"))
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params()))


def small_params() -> dict:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["backbones"]["tiny"] = params["backbones"]["minilm"]
    params["runs"]["tiny"] = params["runs"]["recformer-original"] | RUN
    params["pretrained"]["tiny-circle"] = params["pretrained"]["games"] | PRETRAINED
    params["tracking"]["enabled"] = False
    return params


@pytest.fixture(scope="module")
def trainings(tmp_path_factory) -> Together:
    folder = tmp_path_factory.mktemp("together")
    alone, main, second = (Left(folder / name) for name in ("alone", "0", "1"))
    for left in (alone, main, second):
        settle(left.folder)
    for stage in (PRETRAIN, TRAIN):
        worker.run(alone.folder, *stage)
    cut = launch(folder, PRETRAIN, TRAIN, cut=CUT)
    files = main.written(), second.written()
    return Together(alone, main, second, cut, files, launch(folder, TRAIN))


def test_every_loss_of_pretraining_is_that_of_one_process(trainings):
    expected = trainings.alone.losses("pretrain")
    assert len(expected) == 3 * EPOCH
    assert trainings.main.losses("pretrain") == pytest.approx(expected, rel=1e-5)
    assert trainings.second.losses("pretrain") == pytest.approx(expected, rel=1e-5)


def test_every_loss_of_fine_tuning_is_that_of_one_process_though_it_was_cut_off(trainings):
    expected = trainings.alone.losses("train")
    assert len(expected) == 2 * (3 + 1) * EPOCH  # of both seeds, in two stages
    cut_epoch = slice(2 * EPOCH, CUT - 1)  # trained in part, then anew
    expected[cut_epoch] = 2 * expected[cut_epoch]
    assert trainings.main.losses("train") == pytest.approx(expected, rel=1e-5)
    assert trainings.second.losses("train") == pytest.approx(expected, rel=1e-5)


def test_metrics_and_learning_curves_agree(trainings):
    ranked = "ml-100k/full/tiny"
    assert trainings.main.metrics(ranked) == pytest.approx(trainings.alone.metrics(ranked), rel=1e-5)
    for path in ("metrics/ml-100k/curves/tiny.csv", "models/pretrained/tiny-circle/curve.csv"):
        np.testing.assert_allclose(trainings.main.curve(path), trainings.alone.curve(path), rtol=1e-5)


@pytest.mark.parametrize("name", ["pretrained/tiny-circle/model", "ml-100k/tiny/seed-0", "ml-100k/tiny/seed-1"])
def test_the_weights_agree(trainings, name):
    weights, expected = (left.weights(f"models/{name}.safetensors") for left in (trainings.main, trainings.alone))
    assert weights.keys() == expected.keys()
    assert all(weight.any() for name, weight in weights.items() if "item_position" in name)  # zeros at the start
    for name, weight in weights.items():
        if not name.endswith("attention.key.bias"):  # a softmax does not hang on it: its gradient is rounding alone
            torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-3, msg=name)


def test_the_main_process_alone_writes(trainings):
    assert trainings.done.returncode == 0
    assert trainings.main.written() == trainings.alone.written()
    assert len(trainings.alone.written()) == 4 + 2 + 1 + 1  # a backbone, weights of two seeds, ranks and a curve
    assert trainings.second.written() == set()
    pretrained = {name for name in trainings.alone.written() if name.startswith("models/pretrained")}
    checkpoint = ".checkpoints/ml-100k/tiny/seed-0-stage-1.safetensors"
    assert trainings.cut_files == (pretrained | {checkpoint}, set())


def test_an_error_of_one_process_ends_both_with_one_line(trainings):
    assert trainings.cut.returncode == 1
    assert trainings.cut.stderr.count("error: ") == 1
    assert f"error: loss {CUT} fails\n" in trainings.cut.stderr
    assert trainings.cut.stderr.count("Traceback") == 1  # the launcher's own


def test_progress_is_shown_once(trainings):
    for seed in (0, 1):
        assert trainings.done.stderr.count(f"recformer original seed {seed}") == 1


def test_dropout_is_each_processs_own_and_draws_for_a_batch_are_not(trainings):
    drawn = [left.chance() for left in (trainings.main, trainings.second)]
    torch.manual_seed(0)
    assert drawn[0]["alike"] == drawn[1]["alike"] == torch.rand(6).tolist()  # as one process draws them
    assert not set(drawn[0]["own"]) & set(drawn[1]["own"])
    assert len(set(drawn[0]["own"] + drawn[0]["alike"])) == 12
