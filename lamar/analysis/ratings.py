"""What people think of signals: relevancy and usefulness of a few random ones, each 0, 0.5 or 1 (paper, Table 2)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.params import Ratings

QUESTIONS = {
    "relevancy": "Does the signal fit the item, in fact and in context?",
    "usefulness": "Does it add something that the fields above do not say?",
}
ANSWERS = ("0", "0.5", "1")
JUDGE = "judge-"  # files of an LLM's answers begin so: reported beside the people's, never among them
JUDGED_BY = "judge"  # and their column of this name says which model answered
DIGITS = 4


def draw_sheet(
    signals: pl.DataFrame, items: pl.DataFrame, attributes: Sequence[str], count: int, seed: int
) -> pl.DataFrame:
    """`count` random kept signals: item_id, the attributes, signal. The same for the same seed and signals."""
    kept = signals.filter("kept").select("item_id", "signal").sort("item_id")
    drawn = kept.sample(min(count, kept.height), seed=seed, shuffle=True)
    joined = drawn.join(items.select("item_id", *attributes), on="item_id", how="left", maintain_order="left")
    return joined.select("item_id", *attributes, "signal")


def read_sheet(dataset: str, generator: str, attributes: Sequence[str], settings: Ratings) -> pl.DataFrame:
    """The sheet of a generator's signals for a dataset. Raises LamarError when there are no signals yet."""
    paths = [Path("data/signals", dataset, f"{generator}.parquet"), Path("data/prepared", dataset, "items.parquet")]
    if missing := [path for path in paths if not path.exists()]:
        raise LamarError(f"{missing[0]}: no such file; run dvc repro signals")
    signals, items = map(pl.read_parquet, paths)
    return draw_sheet(signals, items, attributes, settings.items, settings.seed)


@dataclass(frozen=True)
class Rater:
    """One rater's answers by question, in the order of the sheet; NaN where a judge's could not be read."""

    name: str
    answers: dict[str, list[float]]


def read_raters(folder: Path, sheet: pl.DataFrame) -> list[Rater]:
    """Every filled sheet in `folder` (<rater>.csv), by name. Raises LamarError naming file, line and column."""
    return [_rater(path, sheet) for path in sorted(folder.glob("*.csv"))]


def _rater(path: Path, sheet: pl.DataFrame) -> Rater:
    wanted = dict(sheet.select("item_id", "signal").iter_rows())
    judge = path.name.startswith(JUDGE)
    found = {}
    for line, row in _rows(path):
        if JUDGED_BY in row and not judge:
            raise LamarError(
                f"{path}: was filled by the LLM {row[JUDGED_BY]}, not by a person; name it {JUDGE}NAME.csv"
            )
        item = row["item_id"]
        if wanted.get(item) != row["signal"]:
            raise LamarError(f"{path}:{line}: item {item!r} and its signal are not on the current sheet; rate that one")
        if item in found:
            raise LamarError(f"{path}:{line}: item {item!r} is rated twice; keep one line")
        found[item] = {question: _answer(path, line, question, row[question], judge) for question in QUESTIONS}
    missing = [item for item in wanted if item not in found]
    if missing:
        raise LamarError(f"{path}: item {missing[0]!r} is not rated; rate all {len(wanted)} items and export again")
    answers = {question: [found[item][question] for item in wanted] for question in QUESTIONS}
    for question, given in answers.items():
        if np.isnan(given).all():
            raise LamarError(f"{path}: no {question} at all; ask the judge again (lamar judge)")
    return Rater(path.stem, answers)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV with a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LamarError(f"{path}: not a CSV in UTF-8 ({error}); export the sheet again") from None
    needed = ["item_id", "signal", *QUESTIONS]
    absent = [name for name in needed if name not in (reader.fieldnames or [])]
    if absent:
        raise LamarError(f"{path}: no column {absent[0]!r}; export the sheet again")
    return rows


def _answer(path: Path, line: int, question: str, text: str | None, judge: bool) -> float:
    if judge and text == "":
        return float("nan")
    if text not in ANSWERS:
        raise LamarError(f"{path}:{line}: {question} is {text!r}; it must be {', '.join(ANSWERS)}")
    return float(text)


def summarise(raters: Sequence[Rater], items: int) -> dict[str, Any]:
    """Items, number of people, by question average, percent and alpha; `judges`: the same of every LLM judge.

    average: mean over people of the sum over items (13.67 of 15 in the paper); percent: of the possible sum. A judge's
    alpha is that of the judge and the median of the people, so that the people's disagreement is not taken for the
    judge's (None while nobody has rated); `read` is how many of its items have both answers; average and percent are
    those of the answers that it gave.
    """
    people = [rater for rater in raters if not rater.name.startswith(JUDGE)]
    judges = [rater for rater in raters if rater.name.startswith(JUDGE)]
    found: dict[str, Any] = {"items": items, "raters": len(people)}
    if people:
        found |= {question: _question(people, question) for question in QUESTIONS}
    found["judges"] = [
        {"name": judge.name.removeprefix(JUDGE), "read": _read(judge)}
        | {question: _question([judge], question) | _agreement(judge, people, question) for question in QUESTIONS}
        for judge in judges
    ]
    return found


def _read(judge: Rater) -> int:
    return int((~np.isnan(list(judge.answers.values())).any(axis=0)).sum())


def _question(raters: Sequence[Rater], question: str) -> dict[str, float | None]:
    answers = np.array([rater.answers[question] for rater in raters])
    mean = float(np.nanmean(answers))
    return {
        "average": round(mean * answers.shape[1], DIGITS),
        "percent": round(100 * mean, DIGITS),
        "alpha": alpha(answers),
    }


def _agreement(judge: Rater, people: Sequence[Rater], question: str) -> dict[str, float | None]:
    medians = [np.median([rater.answers[question] for rater in people], axis=0)] if people else []
    return {"alpha": alpha([judge.answers[question], *medians])}


def alpha(answers: Sequence[Sequence[float]] | np.ndarray) -> float | None:
    """Krippendorff's alpha of ordinal answers (raters, items), NaN where there is none.

    None with one rater, when all answers are the same, or when no item has two.
    """
    import krippendorff

    data = np.array(answers)
    given = ~np.isnan(data)
    paired = data[:, given.sum(axis=0) > 1]  # an item with one answer says nothing of agreement
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    return round(float(krippendorff.alpha(reliability_data=data, level_of_measurement="ordinal")), DIGITS)
