"""What a trained run consists of, wherever it lies: in the repository, or in a folder that was published."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from lamar.files import read_json, write_json, write_parquet
from lamar.params import AnyRun

ENCODER_FILES = ("config.json", "tokenizer.json")  # what a trained model still needs of the encoder it started from


@dataclass(frozen=True)
class Trained:
    """A run's settings, its weights and what they are about.

    weights: tensors by name. items: item_id and title, in the order of the weights. texts: what a model reads of the
    same items, one column per attribute and signal after the first. encoder: the folder of the text encoder's
    config.json and tokenizer.json, for models that read text.
    """

    name: str
    run: AnyRun
    weights: dict[str, Tensor]
    items: pl.DataFrame
    texts: pl.DataFrame
    encoder: Path | None = None

    def save(self, folder: Path) -> None:
        """Write everything to `folder`, from where `read` takes it on any machine."""
        folder.mkdir(parents=True)
        write_json(folder / "run.json", {"name": self.name, "settings": self.run.model_dump()})
        write_parquet(folder / "items.parquet", self.items)
        write_parquet(folder / "texts.parquet", self.texts)
        save_file(self.weights, folder / "weights.safetensors")
        if self.encoder is not None:
            (folder / "encoder").mkdir()
            for file in ENCODER_FILES:
                shutil.copy(self.encoder / file, folder / "encoder")


def read(folder: Path) -> Trained:
    """What `save` wrote."""
    described = read_json(folder / "run.json")
    encoder = folder / "encoder"
    return Trained(
        described["name"],
        TypeAdapter(AnyRun).validate_python(described["settings"]),
        load_file(folder / "weights.safetensors"),
        pl.read_parquet(folder / "items.parquet"),
        pl.read_parquet(folder / "texts.parquet"),
        encoder if encoder.exists() else None,
    )
