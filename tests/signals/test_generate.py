from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.llm import journal
from lamar.params import LocalGenerator, load
from lamar.signals import generate, verify
from lamar.signals.generate import Question, answers, journal_path, questions, read_items, share, write_responses
from lamar.signals.prompt import Prompt

PROMPT = Prompt("Use", "write what it is for .", (({"title": "small red drum"}, "play music at school"),))
SETTINGS = load(Path(__file__).parents[2] / "params.yaml").generate.model_copy(update={"batch": 3})
ITEMS = pl.DataFrame(
    {
        "item_id": ["c", "a", "d", "b", "e"],
        "title": ["wooden chair", "steel saw", "paper lamp", "steel saw", "glass table in the kitchen"],
        "brand": ["", "", "Brand", "", ""],
    }
)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, so that no answers come with it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def asked(tiny_llm: LocalGenerator) -> list[Question]:
    return questions(ITEMS, ["title", "brand"], PROMPT, tiny_llm)


def ask(asked: list[Question], llm: LocalGenerator) -> dict[str, journal.Answer]:
    return answers(asked, "shop", "tiny", llm, SETTINGS)


def lose_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From here on, loading the model is an error."""
    monkeypatch.setenv("LAMAR_CACHE", str(tmp_path / "no-weights"))
    monkeypatch.delenv("LAMAR_MIRROR", raising=False)


def test_a_question_an_item_in_the_order_of_the_items(asked: list[Question]) -> None:
    assert [question.item_id for question in asked] == ["c", "a", "d", "b", "e"]
    contents = [question.messages[0]["content"] for question in asked]
    assert contents[0].endswith("Input:\nTitle: wooden chair\nOutput:")
    assert contents[2].endswith("Input:\nTitle: paper lamp\nBrand: Brand\nOutput:")
    assert asked[1].key == asked[3].key, "the same question is one question"


def test_every_answer_is_kept_and_the_same_question_is_asked_once(
    asked: list[Question], tiny_llm: LocalGenerator, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = ask(asked, tiny_llm)
    assert "4 questions about 5 items, 4 to ask tiny-float32" in capsys.readouterr().err
    assert journal_path(tiny_llm).read_bytes().count(b"\n") == 4
    assert answered == journal.read(journal_path(tiny_llm))
    assert answered.keys() == {question.key for question in asked}


def test_a_second_call_asks_nothing_and_loads_no_model(
    asked: list[Question], tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = ask(asked, tiny_llm)
    written = journal_path(tiny_llm).read_bytes()
    lose_the_weights(monkeypatch, tmp_path)
    assert ask(asked, tiny_llm) == first
    assert journal_path(tiny_llm).read_bytes() == written


def test_missing_weights_are_an_error_when_something_is_to_be_asked(
    asked: list[Question], tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lose_the_weights(monkeypatch, tmp_path)
    with pytest.raises(LamarError, match="no source gave the files"):
        ask(asked, tiny_llm)


def test_only_the_missing_ones_are_asked(
    asked: list[Question], tiny_llm: LocalGenerator, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ask(asked[:2], tiny_llm)
    answered = ask(asked, tiny_llm)
    assert "4 questions about 5 items, 2 to ask" in capsys.readouterr().err
    assert some.items() <= answered.items()
    assert journal_path(tiny_llm).read_bytes().count(b"\n") == 4


def test_a_changed_prompt_asks_anew_and_keeps_the_old_answers(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    before = ask(asked, tiny_llm)
    changed = questions(ITEMS, ["title", "brand"], replace(PROMPT, task="write what it is ."), tiny_llm)
    after = ask(changed, tiny_llm)
    assert not before.keys() & after.keys()
    assert journal.read(journal_path(tiny_llm)) == before | after


def test_answers_that_come_with_the_project_are_used_first(
    asked: list[Question], tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = ask(asked, tiny_llm)
    shipped = replace(own[asked[0].key], text="sit at the table")
    path = Path("data/journals/shop/tiny.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text(journal.to_line(shipped))
    assert ask(asked, tiny_llm) == own | {shipped.key: shipped}
    shutil.rmtree(tmp_path / "journal")
    lose_the_weights(monkeypatch, tmp_path)
    assert ask(asked[:1], tiny_llm) == {shipped.key: shipped}
    assert not (tmp_path / "journal").exists()


def test_a_broken_answer_that_comes_with_the_project(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    path = Path("data/journals/shop/tiny.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text("<<<<<<< HEAD\n")
    with pytest.raises(LamarError, match=r"^data/journals/shop/tiny\.jsonl:1: not an answer"):
        ask(asked, tiny_llm)


def test_another_process_is_asking(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    with journal.opened(journal_path(tiny_llm)), pytest.raises(LamarError, match="another process is asking"):
        ask(asked, tiny_llm)


def test_responses_are_sorted_and_the_same_however_they_were_asked(
    asked: list[Question], tiny_llm: LocalGenerator, tmp_path: Path
) -> None:
    out = tmp_path / "responses" / "tiny.jsonl"
    write_responses(asked, ask(asked, tiny_llm), out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["item_id"] for row in rows] == ["a", "b", "c", "d", "e"]
    assert rows[0] | {"item_id": "b"} == rows[1]
    assert rows[0].keys() == {
        "item_id", "key", "model", "text", "finish_reason", "input_tokens", "output_tokens"
    }  # fmt: skip
    first = out.read_bytes()
    shutil.rmtree(tmp_path / "journal")
    for question in reversed(asked):
        ask([question], tiny_llm)
    write_responses(asked[::-1], ask(asked, tiny_llm), out)
    assert out.read_bytes() == first


def test_shared_answers_make_the_journal_needless(
    asked: list[Question], tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answered = ask(asked, tiny_llm)
    ask(questions(ITEMS, ["title"], replace(PROMPT, task="write ."), tiny_llm), tiny_llm)  # not to be shared
    path, count = share(answered.keys(), "shop", "tiny", tiny_llm)
    assert (path, count) == (Path("data/journals/shop/tiny.jsonl"), 4)
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert keys == sorted(answered)
    lose_the_weights(monkeypatch, tmp_path)
    monkeypatch.setenv("LAMAR_JOURNAL", str(tmp_path / "elsewhere"))
    assert ask(asked, tiny_llm) == answered
    assert share(answered.keys(), "shop", "tiny", tiny_llm) == (path, 4)


def test_nothing_to_share_writes_no_file(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    with pytest.raises(LamarError, match="no answers of tiny for shop to share; run dvc repro generate first"):
        share({question.key for question in asked}, "shop", "tiny", tiny_llm)
    assert not Path("data").exists()


def test_items_that_are_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(LamarError, match=r"items\.parquet: no such file; put shop into matrix\.datasets, then dvc"):
        read_items(tmp_path / "shop")


def test_true_answers_are_verified(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    ask(asked, tiny_llm)
    written = journal_path(tiny_llm).read_bytes()
    agreement = verify.verify(asked, "shop", "tiny", tiny_llm, batch=2, questions=50, seed=0)
    assert (agreement.same, agreement.asked, agreement.different) == (4, 4, [])
    assert journal_path(tiny_llm).read_bytes() == written


def test_a_false_answer_is_found(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    answered = ask(asked, tiny_llm)
    true = answered[asked[0].key]
    with journal.opened(journal_path(tiny_llm)) as book:
        book.append([replace(true, text="never said")])
    agreement = verify.verify(asked, "shop", "tiny", tiny_llm, batch=2, questions=50, seed=0)
    assert (agreement.same, agreement.asked) == (3, 4)
    assert agreement.different == [(asked[0], "never said", true.text)]


def test_verifying_some_answers_is_a_choice_of_the_seed(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    answered = ask(asked, tiny_llm)
    with journal.opened(journal_path(tiny_llm)) as book:
        book.append([replace(answer, text="false") for answer in answered.values()])

    def chosen(seed: int) -> list[str]:
        found = verify.verify(asked, "shop", "tiny", tiny_llm, batch=2, questions=2, seed=seed).different
        return [question.key for question, _, _ in found]

    assert len(chosen(0)) == 2
    assert chosen(0) == chosen(0)
    assert len({tuple(sorted(chosen(seed))) for seed in range(5)}) > 1


def test_nothing_to_verify(asked: list[Question], tiny_llm: LocalGenerator) -> None:
    with pytest.raises(LamarError, match="no answers of tiny for shop to verify; run dvc repro generate first"):
        verify.verify(asked, "shop", "tiny", tiny_llm, batch=2, questions=2, seed=0)


def test_the_answers_of_the_project_answer_todays_questions(request: pytest.FixtureRequest) -> None:
    """Fails when a prompt, the sampling or the weights change and the shipped answers do not."""
    from lamar.signals.prompt import answers_of, proposal_path, read_prompt

    root = request.config.rootpath
    params = load(root / "params.yaml")
    files = sorted((root / generate.SHIPPED).glob("*/*.jsonl"))
    shipped = [path for path in files if path.stem in params.generators]  # the others are TAXREC's
    assert shipped
    for path in shipped:
        dataset, writer = params.datasets[path.parent.name], params.generators[path.stem]
        answered = journal.read(path)
        assert list(answered) == sorted(answered)
        assert {answer.model for answer in answered.values()} == {writer.model}
        items = root / "data/prepared" / path.parent.name / "items.parquet"
        if items.exists():
            proposal = root / proposal_path(path.parent.name, path.stem)
            today = questions(pl.read_parquet(items), dataset.attributes, read_prompt(proposal), writer)
            wanted = {question.key for question in today} | answers_of(proposal)  # none has second answers yet
            assert answered.keys() == wanted


@pytest.mark.parametrize("dataset", ["ml-100k", "scientific"])
def test_no_item_that_was_paid_for_is_touched_by_what_guards_the_prompt(
    dataset: str, request: pytest.FixtureRequest
) -> None:
    from lamar.params import load
    from lamar.signals.prompt import as_data

    root = request.config.rootpath
    prepared = root / "data/prepared" / dataset / "items.parquet"
    if not prepared.exists():
        pytest.skip(f"{dataset} is not prepared: dvc repro prepare")
    attributes = load(root / "params.yaml").datasets[dataset].attributes
    texts = [text for row in pl.read_parquet(prepared).select(attributes).iter_rows() for text in row if text]
    assert [text for text in texts if as_data(text) != text] == []
