"""How near texts are in meaning: unit vectors of a sentence encoder, and what similarity chance alone gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lamar import console
from lamar.engine import Engine, here, in_order
from lamar.errors import LamarError

BATCH = 64  # texts encoded at once; sorted by length, so that little is padded
TOKENS = 256  # all-MiniLM-L6-v2 reads no more
FEWEST = 20  # texts; fewer tell no quantile of chance
SHIFTS = 50  # chance is measured on this many random partners a text: enough for a quantile to two digits


def encode(texts: Sequence[str], encoder: Path, pooling: str = "mean", engine: Engine = here) -> np.ndarray:
    """Unit vectors (texts, width) of the sentence encoder in the folder `encoder`, of the first TOKENS of each text.

    pooling: mean or cls, as it was trained: MiniLM and the mpnets by the mean. Equal texts are encoded once. Raises
    LamarError when the folder is not there.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    vectors = []
    with console.progress() as bar:
        task = bar.add_task("encoding", total=len(distinct), note="loading the encoder")
        for made in in_order(engine(partial(_batches, distinct), partial(_batch_encoder, encoder, pooling), gpu=True)):
            vectors.append(made)
            bar.update(task, advance=len(made), note="")
    place = {text: number for number, text in enumerate(distinct)}
    return np.concatenate(vectors)[[place[text] for text in texts]]


def _batches(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))


def _batch_encoder(encoder: Path, pooling: str) -> Callable[[list[str]], np.ndarray]:
    return partial(_load(encoder, pooling).encode, batch_size=BATCH, show_progress_bar=False)


def _load(encoder: Path, pooling: str) -> Any:
    if not (encoder / "model.safetensors").exists():
        raise LamarError(f"{encoder}/model.safetensors: no such file; run dvc repro backbone")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    words = Transformer(str(encoder), max_seq_length=TOKENS)
    return SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension(), pooling), Normalize()])


def chance(left: np.ndarray, right: np.ndarray, quantile: float) -> float:
    """The quantile of the similarity of rows of `left` with *other* rows of `right` (both (n, width), unit vectors).

    Row i meets i + s for at most SHIFTS shifts s, evenly spaced over all rows: nothing is drawn. With fewer than FEWEST
    rows: -1, below which no similarity is.
    """
    if len(left) < FEWEST:
        return -1.0
    shifts = np.unique(np.linspace(1, len(left) - 1, SHIFTS).astype(int))
    similar = [(left * np.roll(right, -shift, axis=0)).sum(1) for shift in shifts]
    return float(np.quantile(np.concatenate(similar), quantile))
