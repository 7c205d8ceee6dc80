"""A repository with trained models of a small catalogue, in which everybody walks around the same circle."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from lamar.files import write_parquet

REPOSITORY = Path(__file__).parents[2]
DATASET = "circle"
ITEMS = 16
IDS = [f"sku-{number:02}" for number in range(ITEMS)]
WORDS = [f"word{number}" for number in range(ITEMS)]
ATTRIBUTES = ["name", "maker"]
SIGNAL = "Mood and Themes"
RUNS = ["popularity", "sasrec", "s3rec-original", "recformer-original", "recformer-lamar"]
TABLE = {
    "reader": "table",
    "attributes": ATTRIBUTES,
    "prompt": "movielens",
    "ties": "file",
    "sample_users": 1.0,
    "items": "data/own/items.csv",
    "interactions": "data/own/sales.csv",
    "columns": {"item": "sku", "user": "customer", "timestamp": "day"},
}
SMALL = {
    "sasrec": {"seeds": [3, 5], "hidden": 16, "heads": 1, "layers": 1, "max_items": 8, "epochs": 6, "batch": 16},
    "recformer": {
        "backbone": "tiny",
        "layers": 2,
        "frozen_layers": 0,
        "places_per_user": 0,
        "pooling": "cls",
        "max_items": 8,
        "batch": 16,
    },
}
SMALL["sasrec"] |= {"dropout": 0.0, "learning_rate": 0.01, "warmup_steps": 5, "patience": 6}
SMALL["s3rec"] = SMALL["sasrec"] | {"seeds": [0]}
SMALL["s3rec"]["pretraining"] = {
    "epochs": 1,
    "batch": 16,
    "mask_share": 0.2,
    "weights": {"attributes": 0.2, "masked_items": 1.0, "masked_attributes": 1.0, "segments": 0.5},
    "attributes": {"lists": ["maker"], "left_out": ["name"], "min_items": 2, "max_share": 0.5},
}
SMALL["recformer"] |= {"precision": "float32", "epochs": 1, "second_epochs": 8, "patience": 8, "warmup_steps": 10}
SMALL["recformer"] |= {"learning_rate": 0.004, "weight_decay": 0.0, "next_items": 1}


def texts(numbers: list[int]) -> dict[str, list[str]]:
    """Names and makers; an item's name has a word of the item before it."""
    return {
        "name": [f"{WORDS[number]} {WORDS[number - 1]}" for number in numbers],
        "maker": [f"maker{number % 3}" for number in numbers],
    }


def build(folder: Path) -> None:
    """Write settings, tables and a backbone, and train every run by the code of the stage."""
    settings = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    settings["datasets"][DATASET] = TABLE
    settings["tracking"]["enabled"] = False
    settings["matrix"] |= {"datasets": [DATASET], "runs": RUNS}
    for run in RUNS[1:]:
        settings["runs"][run] |= SMALL[run.split("-")[0]]
    settings["backbones"]["tiny"] = {"sources": [{"mirror": "x", "files": ["model.safetensors"]}], "sha256": ""}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    write_tables(folder / "data")
    write_backbone(folder / "models/backbones/tiny")
    with chdir(folder):
        train()


def write_tables(data: Path) -> None:
    numbers = list(range(ITEMS))
    items = pl.DataFrame({"item": numbers, "item_id": IDS, **texts(numbers)}, schema_overrides={"item": pl.Int32})
    write_parquet(data / "prepared" / DATASET / "items.parquet", items)
    for run in RUNS:
        read = items.drop("item_id")
        if run == "recformer-lamar":
            read = read.with_columns(pl.Series(SIGNAL, WORDS))
        write_parquet(data / "sequences" / DATASET / run / "items.parquet", read)
        write_parquet(data / "sequences" / DATASET / run / "histories.parquet", walks(80))


def walks(users: int) -> pl.DataFrame:
    """Everybody starts at a place of their own and takes one item after the other."""
    rng = np.random.default_rng(0)
    paths = [(rng.integers(ITEMS) + np.arange(rng.integers(5, 10))) % ITEMS for _ in range(users)]
    columns: dict[str, Any] = {
        "user": range(users),
        "train": [path[:-2].tolist() for path in paths],
        "validation": [path[-2] for path in paths],
        "test": [path[-1] for path in paths],
    }
    return pl.DataFrame(columns)


def write_backbone(folder: Path) -> None:
    """A random BERT of two layers, and a tokenizer of the catalogue's words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[CLS]", "[UNK]", "name", "maker", "Mood", *WORDS, *(f"maker{number}" for number in range(3))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes["initializer_range"] = 0.2  # ten times BERT's: with two random layers its items would nearly be one
    torch.manual_seed(7)
    BertModel(BertConfig(vocab_size=len(words), **sizes), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def train() -> None:
    from lamar.models import TRAINERS
    from lamar.params import load
    from lamar.training.examples import read_sequences
    from lamar.training.outputs import train_run

    chosen = load()
    for run in RUNS:
        train_run(chosen, DATASET, run, TRAINERS[chosen.runs[run].model], read_sequences(DATASET, run))
