"""What a Recformer begins with: the weights and the tokenizer of a text encoder, or of a Recformer pre-trained here."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from lamar.errors import LamarError
from lamar.params import Reading
from lamar.recformer.model import Recformer
from lamar.recformer.weights import from_encoder, shape_of
from lamar.training import fit

PRETRAINED = Path("models/pretrained")
CLS = ("[CLS]", "<s>")  # what BERT and RoBERTa call them
MASK = ("[MASK]", "<mask>")


def folder_of(backbone: str) -> Path:
    """Where a backbone lies: pre-trained here, or fetched (params.yaml has no name twice)."""
    made = PRETRAINED / backbone
    return made if made.exists() else Path("models/backbones", backbone)


def started(settings: Reading) -> tuple[Recformer, Tokenizer]:
    """A Recformer that has learned nothing but its backbone's text, and the tokenizer of that text."""
    folder = folder_of(settings.backbone)
    shape = shape_of(folder, settings.layers, settings.max_items, settings.window, settings.dropout, settings.pooling)
    model = from_encoder(folder, shape)
    model.freeze(settings.frozen_layers)
    if settings.compiled and fit.device().type == "cuda":
        model.compile_layers()
    return model, tokenizer_of(folder)


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer of a backbone's folder; texts are cut and padded elsewhere."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token(tokenizer: Tokenizer, names: tuple[str, ...], backbone: str) -> int:
    """The id of the first of `names` that the tokenizer has. Raises LamarError when it has none."""
    found = (tokenizer.token_to_id(name) for name in names)
    number = next((number for number in found if number is not None), None)
    if number is None:
        path = folder_of(backbone) / "tokenizer.json"
        raise LamarError(f"{path}: has neither {' nor '.join(names)}; use a BERT or RoBERTa tokenizer")
    return number
