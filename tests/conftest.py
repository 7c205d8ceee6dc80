"""Fixtures of the whole suite: one thread, a tiny real LLM to ask, and a tiny text encoder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny_llm as tiny
import torch

from lamar.params import LocalGenerator

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Triton's interpreter; it is read when Triton is imported

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "saw", "drill", "cut", "x"]  # of the encoder


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Models as small as the tests' spend their time waiting for a second thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LAMAR_CACHE that holds the tiny LLM."""
    cache = tmp_path_factory.mktemp("cache")
    tiny.write_weights(cache)
    return cache


@pytest.fixture
def tiny_llm(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> LocalGenerator:
    """The tiny LLM (float32, or the dtype of an indirect parameter), asked with an empty journal in `tmp_path`."""
    monkeypatch.setenv("LAMAR_CACHE", str(tiny_cache))
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / "journal"))
    return tiny.generator(getattr(request, "param", "float32"))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real text encoder, in the three files of a backbone."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.5, **sizes)).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


LONGEST_FIRST = ("tests/pipeline/", "tests/rankers/")  # so that no worker is left alone with them at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST_FIRST))
