"""The benchmark of `generate` with the tiny LLM: answers are compared question by question."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from tiny_llm import WORDS

from lamar.llm.local import LocalModel
from lamar.params import LocalGenerator
from lamar.signals.generate import questions
from lamar.signals.prompt import Prompt

REPOSITORY = Path(__file__).parents[2]
TITLES = [" ".join(WORDS[start : start + 2 * start]) for start in range(3, 15)]
ITEMS = pl.DataFrame({"item_id": [str(n) for n in range(12)], "title": TITLES, "genre": "music"})
PROMPT = Prompt("Use", "write what it is for .", (({"title": "small red drum"}, "play music at school"),))


@pytest.fixture
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "benchmarks/generate.py"))


def test_another_answer_to_the_same_question_is_found(benchmark: dict[str, Any], tiny_llm: LocalGenerator) -> None:
    model, asked = LocalModel(tiny_llm, 12), questions(ITEMS, ["title"], PROMPT, tiny_llm)
    theirs = benchmark["reference"](model, [question.messages for question in asked], 5, tiny_llm.max_tokens)
    ours = {
        answer.key: answer for answers in model.ask([question.messages for question in asked]) for answer in answers
    }
    assert len(set(theirs)) > 4
    same = {"same_answers": 12, "tokens_that_differ_by_ties": 0, "tokens_of_others": 0}
    assert benchmark["compared"](model, asked, ours, theirs) == same

    other = next(key for key, answer in ours.items() if answer.text != theirs[0])
    swapped = ours | {asked[0].key: replace(ours[other], key=asked[0].key)}
    found = benchmark["compared"](model, asked, swapped, theirs)
    assert found["same_answers"] == 11, "both are among the texts of the other way"
    assert found["tokens_that_differ_by_ties"] < found["tokens_of_others"]


@pytest.mark.parametrize("tiny_llm", ["float32", "bfloat16"], indirect=True)
def test_the_ratio_is_printed_last(
    benchmark: dict[str, Any], tiny_llm: LocalGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    chosen["generators"]["tiny"] = tiny_llm.model_dump(exclude_none=True)
    Path("params.yaml").write_text(yaml.safe_dump(chosen))
    Path("data/prepared/ml-100k").mkdir(parents=True)
    ITEMS.write_parquet("data/prepared/ml-100k/items.parquet")
    done = CliRunner().invoke(benchmark["main"], ["ml-100k", "tiny", "--items", "8"])
    assert done.exit_code == 0, done.output
    result = json.loads(Path("benchmarks/results/generate-ml-100k.json").read_text())
    assert list(result)[-1] == "ratio"
    assert done.stderr.splitlines()[-1] == f"ratio: {result['ratio']}"
    assert result["tokens_that_differ_by_ties"] == result["tokens_of_others"]
    if tiny_llm.model == "tiny-float32":
        assert result["same_answers"] == 8
