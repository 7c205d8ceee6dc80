"""Pre-training from prepared tables to a backbone that a run can start from."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from encoders import saved
from safetensors.torch import load_file
from test_recommender import VOCABULARY, tokenizer

from lamar.errors import LamarError
from lamar.params import Params, load
from lamar.recformer import pretrain
from lamar.recformer.sources import read_sources
from lamar.recformer.start import started
from lamar.tracking import Tracker
from lamar.training.checkpoint import Checkpoint

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "backbone": "tiny",
    "frozen_layers": 0,
    "masked_weight": 0.1,
    "layers": 2,
    "pooling": "cls",
    "max_items": 9,
    "batch": 16,
    "epochs": 4,
    "patience": 4,
    "learning_rate": 0.002,
    "warmup_steps": 5,
    "precision": "float32",
    "sources": {"games": ["title"], "scientific": ["title", "brand"]},
}


def prepared(folder: Path, items: int, users: int, seed: int) -> None:
    """Tables as the stage `prepare` writes them: everybody walks around a circle of all items."""
    rng = np.random.default_rng(seed)
    walks = [(rng.integers(items) + np.arange(rng.integers(4, 9))) % items for _ in range(users)]
    rows = [(user, item, 0, place) for user, walk in enumerate(walks) for place, item in enumerate(walk)]
    text = [f"word{number} word{(number - 1) % items}" for number in range(items)]
    tables = {
        "items": pl.DataFrame({"item": range(items), "item_id": map(str, range(items)), "title": text, "brand": text}),
        "interactions": pl.DataFrame(rows, ["user", "item", "timestamp", "position"], orient="row"),
        "split": pl.DataFrame(
            [(user, len(walk) - 2, walk[-2], walk[-1], "explore") for user, walk in enumerate(walks)],
            ["user", "train", "validation", "test", "fold"],
            orient="row",
        ),
    }
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")


@pytest.fixture
def chosen(tmp_path, monkeypatch) -> Params:
    """params.yaml with one small pre-training, in a folder that has its sources and its backbone."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, items, users) in enumerate([("games", 20, 60), ("scientific", 12, 40)]):
        prepared(tmp_path / "data/prepared" / name, items, users, seed)
    backbone = tmp_path / "models/backbones/tiny"
    saved(backbone, "bert", initializer_range=0.02, vocab_size=len(VOCABULARY) + 1)
    words = tokenizer()
    words.add_special_tokens(["[MASK]"])
    words.save(str(backbone / "tokenizer.json"))
    committed = load(REPOSITORY / "params.yaml")
    small = committed.pretrained["games"].model_copy(update=SMALL)
    backbones = committed.backbones | {"tiny": committed.backbones["minilm"]}
    tracking = committed.tracking.model_copy(update={"enabled": False})
    return committed.model_copy(update={"pretrained": {"both": small}, "backbones": backbones, "tracking": tracking})


def test_sources_are_read_as_one_catalogue(chosen):
    sources = read_sources(SMALL["sources"])
    assert [text.columns for text in sources.texts] == [["item", "title"], ["item", "title", "brand"]]
    assert len(sources.train) == len(sources.validation) == 100
    assert {set(items.tolist()) <= set(range(20)) for items in sources.train[:60]} == {True}
    assert {set(items.tolist()) <= set(range(20, 32)) for items in sources.train[60:]} == {True}
    for items, target in zip(sources.train, sources.ranked.targets, strict=True):
        first, size = (0, 20) if items[0] < 20 else (20, 12)
        assert target - first == (items[-1] - first + 1) % size  # the validation item; the test item is never seen


def test_what_comes_out_is_a_backbone(chosen):
    pretrain.pretrain(chosen, "both")
    folder = Path("models/pretrained/both")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "curve.csv",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    assert pl.read_csv(folder / "curve.csv")["epoch"].to_list() == [1, 2, 3, 4]
    run = load(REPOSITORY / "params.yaml").runs["recformer-games-original"]
    small = {"backbone": "both", "layers": 2, "max_items": 9, "pooling": "cls", "frozen_layers": 0}
    model, _ = started(run.model_copy(update=small))
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert weights["embeddings.item_position.weight"].any()  # zeros in a text encoder: it was trained
    assert not list(Path(".checkpoints").rglob("*.safetensors"))


class Cut(Exception):
    """Stands for whatever ends a process."""


class Cutting(Tracker):
    """Ends the training after some epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._left = epochs

    def epoch(self, values, step):
        self._left -= 1
        if self._left == 0:
            raise Cut


@pytest.mark.parametrize("epochs", [1, 3])
def test_it_goes_on_bit_for_bit(chosen, epochs):
    settings, sources = chosen.pretrained["both"], read_sources(SMALL["sources"])
    whole, curve = pretrain.trained(settings, sources, Tracker(), None)
    checkpoint = Checkpoint(Path("both.safetensors"), "these settings")
    with pytest.raises(Cut):
        pretrain.trained(settings, sources, Cutting(epochs), checkpoint)
    torch.manual_seed(99)  # whatever the next process drew before
    again, resumed = pretrain.trained(settings, sources, Tracker(), checkpoint)
    assert [epoch.loss for epoch in resumed[1:]] == [epoch.loss for epoch in curve[1:]]
    expected = whole.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in again.state_dict().items())


def test_a_source_that_is_not_prepared(chosen):
    missing = chosen.pretrained["both"].model_copy(update={"sources": {"pet": ["title"]}})
    with pytest.raises(LamarError, match=r"pet/items\.parquet: no such file; list pet in matrix\.datasets"):
        pretrain.pretrain(chosen.model_copy(update={"pretrained": {"both": missing}}), "both")


def test_a_tokenizer_without_a_mask(chosen):
    tokenizer().save("models/backbones/tiny/tokenizer.json")
    with pytest.raises(LamarError, match=r"tokenizer\.json: has neither \[MASK\] nor <mask>"):
        pretrain.pretrain(chosen, "both")
