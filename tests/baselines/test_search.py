"""What was searched is on its page, and params.yaml has what it chose."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import polars as pl
import pytest

from lamar import params

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import baselines

    yield baselines
    for name in ("baselines", "references"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def searched() -> pl.DataFrame:
    return pl.read_csv(REPOSITORY / "benchmarks/results/search.csv")


def changes(dropout: float, rate: float) -> tuple[tuple[str, float], ...]:
    return (("dropout", dropout), ("learning_rate", rate))


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({0.2: 0.050, 0.5: 0.0515}, 0.2),
        ({0.2: 0.050, 0.5: 0.053}, 0.5),
        ({0.2: 0.05, 0.5: 0.04}, 0.2),
        ({0.5: 0.04}, 0.5),
    ],
)
def test_a_run_keeps_its_settings_unless_others_are_better_by_more_than_seeds_differ(baselines, scores, chosen):
    tried = {changes(dropout, 0.001): score for dropout, score in scores.items()}
    assert baselines.picked(tried, SimpleNamespace(dropout=0.2, learning_rate=0.001)) == changes(chosen, 0.001)


def test_without_a_search_nothing_is_changed(baselines):
    assert baselines.picked({}, SimpleNamespace()) == ()


def test_runs_have_the_settings_that_were_chosen(baselines, searched):
    chosen = params.load(REPOSITORY / "params.yaml")
    for dataset, runs in baselines.SEARCHED.items():
        for source, followers in runs.items():
            rows = searched.filter(dataset=dataset, run=source)
            assert rows.height == len(baselines.SEARCH)
            tried = {
                changes(row["dropout"], row["learning_rate"]): row["validation_ndcg@10"] for row in rows.to_dicts()
            }
            for run in {source, *followers}:
                assert dict(baselines.picked(tried, chosen.runs[run])).items() <= chosen.runs[run].model_dump().items()


def test_the_page_shows_what_was_searched(searched):
    page = (REPOSITORY / "docs/baselines.md").read_text()
    (table,) = re.findall(r"<!-- search -->\n(.*?)<!-- /search -->", page, re.DOTALL)
    lines = [[cell.strip(" `*") for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    settings = [tuple(map(float, cell.split(", "))) for cell in lines[0][1:]]
    shown = {
        (dataset, run, *setting): score
        for name, *scores in lines[2:]
        for run, dataset in [re.fullmatch(r"(\S+)` \((\S+)\)", name).groups()]
        for setting, score in zip(settings, scores, strict=True)
    }
    columns = ("dataset", "run", "learning_rate", "dropout")
    assert shown == {
        tuple(row[name] for name in columns): f"{row['validation_ndcg@10']:.4f}" for row in searched.to_dicts()
    }
