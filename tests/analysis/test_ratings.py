"""Filled sheets are read, checked, and summed up as in the paper."""

import json
import runpy
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from lamar.analysis.ratings import Rater, alpha, draw_sheet, read_raters, summarise
from lamar.cli import main
from lamar.errors import LamarError

SIGNALS = pl.DataFrame(
    {
        "item_id": [str(number) for number in range(40)],
        "signal": [f"signal, {number}" for number in range(40)],
        "kept": [number % 2 == 0 for number in range(40)],
    }
)
ITEMS = pl.DataFrame({"item_id": SIGNALS["item_id"], "title": SIGNALS["item_id"], "brand": "B"})
FILMS = ITEMS.with_columns(genre=pl.lit("Drama"))
SHEET = draw_sheet(SIGNALS, ITEMS, ["title"], 3, seed=0)


def write(folder: Path, name: str, answers: list[tuple[str, str]], sheet: pl.DataFrame = SHEET) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    relevancy, usefulness = zip(*answers, strict=True)
    filled = sheet.with_columns(relevancy=pl.Series(relevancy), usefulness=pl.Series(usefulness))
    filled.write_csv(folder / f"{name}.csv")
    return folder / f"{name}.csv"


def test_a_sheet_is_of_kept_signals_and_hangs_on_its_seed():
    assert SHEET.columns == ["item_id", "title", "signal"]
    assert all(int(item) % 2 == 0 for item in SHEET["item_id"])
    assert SHEET.equals(draw_sheet(SIGNALS.reverse(), ITEMS, ["title"], 3, seed=0))
    assert not SHEET.equals(draw_sheet(SIGNALS, ITEMS, ["title"], 3, seed=1))
    assert draw_sheet(SIGNALS, ITEMS, ["title"], 100, seed=0).height == 20


def test_sums_and_percentages_are_those_of_the_paper(tmp_path):
    write(tmp_path, "ann", [("1", "0.5"), ("1", "0"), ("1", "1")])
    write(tmp_path, "bob", [("1", "0.5"), ("0", "0"), ("1", "1")])
    found = summarise(read_raters(tmp_path, SHEET), 3)
    assert found["raters"] == 2
    assert found["relevancy"]["average"] == 2.5  # 3 and 2 of 3
    assert found["relevancy"]["percent"] == pytest.approx(100 * 5 / 6, abs=1e-3)
    assert found["usefulness"]["alpha"] == 1
    assert found["relevancy"]["alpha"] < 1


def test_a_judge_is_reported_beside_the_people_and_never_among_them():
    ann = Rater("ann", {"relevancy": [1, 1, 0], "usefulness": [1, 0, 0]})
    judge = Rater("judge-llm", {"relevancy": [0, 0, 1], "usefulness": [1, 0, 0]})
    found = summarise([ann, judge], 3)
    assert found["raters"] == 1
    assert found["relevancy"]["average"] == 2
    (told,) = found["judges"]
    assert told["name"] == "llm"
    assert told["relevancy"]["alpha"] < 0
    assert told["usefulness"]["alpha"] == 1


def test_a_judge_is_compared_with_the_median_of_the_people_whose_own_disagreement_is_theirs():
    ann, bob, eve = (
        Rater(name, {"relevancy": given, "usefulness": given})
        for name, given in (("ann", [1, 1, 0, 0]), ("bob", [1, 0, 0, 0]), ("eve", [1, 1, 1, 0]))
    )
    judge = Rater("judge-llm", {"relevancy": [1, 1, 0, 0], "usefulness": [0, 0, 1, 1]})
    found = summarise([ann, bob, eve, judge], 4)
    assert 0 < found["relevancy"]["alpha"] < 1
    assert found["judges"][0]["relevancy"]["alpha"] == 1
    assert found["judges"][0]["usefulness"]["alpha"] < 0


def test_what_a_judge_said_unreadably_is_left_out(tmp_path):
    write(tmp_path, "ann", [("1", "1"), ("0.5", "0"), ("0", "1")])
    write(tmp_path, "judge-llm", [("1", ""), ("", ""), ("0", "1")])
    (judge,) = (found := summarise(read_raters(tmp_path, SHEET), 3))["judges"]
    assert found["raters"] == 1
    assert judge["read"] == 1
    assert judge["relevancy"] == {"average": 1.5, "percent": 50.0, "alpha": 1.0}  # of 3, at the mean of two
    assert judge["usefulness"]["percent"] == 100
    assert judge["usefulness"]["alpha"] is None  # one item that both rated


def test_a_judges_file_is_no_persons(tmp_path):
    path = write(tmp_path, "judge-llm", [("1", "1")] * 3, SHEET.with_columns(judge=pl.lit("a-model")))
    assert summarise(read_raters(tmp_path, SHEET), 3)["raters"] == 0
    path.rename(tmp_path / "ann.csv")
    with pytest.raises(LamarError, match=r"ann\.csv: was filled by the LLM a-model, not by a person"):
        read_raters(tmp_path, SHEET)


def test_a_judge_without_any_answer_is_asked_again(tmp_path):
    write(tmp_path, "judge-llm", [("1", "")] * 3)
    with pytest.raises(LamarError, match=r"judge-llm\.csv: no usefulness at all; ask the judge again"):
        read_raters(tmp_path, SHEET)


def test_nobody_has_rated():
    assert summarise([], 15) == {"items": 15, "raters": 0, "judges": []}


def test_alpha_of_a_published_example():
    """Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", example B: nominal 0.095 for binary data."""
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha([meg, owen]) == pytest.approx(0.095, abs=0.001)  # of two values, ordinal is nominal


def test_alpha_needs_two_raters_and_answers_that_vary():
    assert alpha([[1, 0, 0.5]]) is None
    assert alpha([[1, 1], [1, 1]]) is None


WRONG = [
    ([("2", "1"), ("1", "1"), ("1", "1")], r"ann\.csv:2: relevancy is '2'; it must be 0, 0\.5, 1"),
    ([("1", "1"), ("1", ""), ("1", "1")], r"ann\.csv:3: usefulness is ''"),
]


@pytest.mark.parametrize(("answers", "message"), WRONG)
def test_an_answer_outside_the_scale_names_its_line(tmp_path, answers, message):
    write(tmp_path, "ann", answers)
    with pytest.raises(LamarError, match=message):
        read_raters(tmp_path, SHEET)


def test_a_sheet_of_other_signals_is_refused(tmp_path):
    write(tmp_path, "ann", [("1", "1")] * 3, SHEET.with_columns(signal=pl.lit("an older text")))
    with pytest.raises(LamarError, match=r"ann\.csv:2: item .* not on the current sheet"):
        read_raters(tmp_path, SHEET)


def test_an_item_twice_or_missing_is_refused(tmp_path):
    path = write(tmp_path, "ann", [("1", "1")] * 3)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(LamarError, match=r"ann\.csv: item '\d+' is not rated; rate all 3 items"):
        read_raters(tmp_path, SHEET)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(LamarError, match=r"ann\.csv:5: item '\d+' is rated twice"):
        read_raters(tmp_path, SHEET)


def test_a_file_that_is_no_sheet(tmp_path):
    (tmp_path / "ann.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LamarError, match=r"ann\.csv: no column 'item_id'; export the sheet again"):
        read_raters(tmp_path, SHEET)


def test_the_sheet_that_rate_writes_is_filled_and_read_by_the_stage(tmp_path, monkeypatch):
    stage = runpy.run_path("stages/ratings.py")["main"]
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    for folder, table in (("data/signals/ml-100k", SIGNALS), ("data/prepared/ml-100k", FILMS)):
        Path(folder).mkdir(parents=True)
        table.write_parquet(Path(folder, "qwen-coder.parquet" if table is SIGNALS else "items.parquet"))
    done = CliRunner().invoke(main, ["rate", "ml-100k", "qwen-coder"])
    assert done.exit_code == 0, done.output
    sheet = pl.read_csv("sheets/ml-100k-qwen-coder.csv", infer_schema=False)
    assert sheet.columns == ["item_id", "title", "genre", "signal", "relevancy", "usefulness"]
    page = Path("sheets/ml-100k-qwen-coder.html").read_text()
    assert sheet.height == 15
    assert all(f'"{signal}"' in page for signal in sheet["signal"])
    Path("data/ratings/ml-100k/qwen-coder").mkdir(parents=True)
    filled = sheet.with_columns(relevancy=pl.lit("1"), usefulness=pl.lit("0.5"))
    filled.write_csv("data/ratings/ml-100k/qwen-coder/ann.csv")
    assert CliRunner().invoke(stage, ["ml-100k", "qwen-coder"]).exit_code == 0
    found = json.loads(Path("metrics/ml-100k/qwen-coder/ratings.json").read_text())
    assert (found["items"], found["raters"]) == (15, 1)
    assert [found[question]["average"] for question in ("relevancy", "usefulness")] == [15, 7.5]


def test_rate_without_signals_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["rate", "ml-100k", "qwen-coder"])
    assert done.exit_code == 1
    assert not Path("sheets").exists()
