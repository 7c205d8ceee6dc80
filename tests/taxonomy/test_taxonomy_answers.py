"""Questions to a local LLM: loaded when there is something to ask, and never for what is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from taxonomist import REPOSITORY

from lamar import params
from lamar.errors import LamarError
from lamar.llm import journal, local
from lamar.params import LocalGenerator, Params
from lamar.taxonomy.answers import Asker

CHATS = [({"role": "user", "content": f"Which mood has film {number}?"},) for number in (1, 2, 1)]
KEPT = Path("data/taxonomies/ml-100k/taxrec-original/items.jsonl")


@pytest.fixture
def chosen(tiny_llm: LocalGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """params.yaml with the tiny LLM, a real one, as `qwen-coder`."""
    monkeypatch.chdir(tmp_path)
    written = params.load(REPOSITORY / "params.yaml")
    return written.model_copy(update={"generators": {"qwen-coder": tiny_llm}})


def test_a_local_llm_is_asked_once(chosen: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker(chosen, "ml-100k", "qwen-coder", KEPT)
    first, second, again = asker.ask(CHATS)
    assert first == again != second
    (short,) = asker.ask(CHATS[:1], max_tokens=2)
    assert short.output_tokens == 2
    assert short.key != first.key
    used = asker.keep()
    assert used["requests"] == 3
    assert journal.read(KEPT) == {answer.key: answer for answer in (first, second, short)}

    monkeypatch.setattr(local.LocalModel, "__init__", lambda *_: pytest.fail("the model is loaded"))
    (book,) = Path("journal").glob("*.jsonl")
    book.unlink()
    other = Asker(chosen, "ml-100k", "qwen-coder", KEPT.with_name("users.jsonl"))
    assert other.ask(CHATS) == [first, second, first]


def test_an_unknown_llm_is_named(chosen: Params) -> None:
    with pytest.raises(LamarError, match="no generator named 'gpt'; known: qwen-coder"):
        Asker(chosen, "ml-100k", "gpt", KEPT)
