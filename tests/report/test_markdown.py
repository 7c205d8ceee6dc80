"""The tables of the README are those of the committed metrics."""

from pathlib import Path

import pytest

from lamar import params
from lamar.report.markdown import table
from lamar.report.results import load_results

README = Path("README.md").read_text()
SHOWN = [part.split(" -->", 1)[0] for part in README.split("<!-- table:")[1:]]


@pytest.mark.parametrize("dataset", SHOWN)
def test_readme_shows_the_committed_metrics(dataset: str) -> None:
    results = load_results(Path("metrics"), list(params.load().runs))[dataset]
    assert f"<!-- table:{dataset} -->\n{table(results)}<!-- /table -->" in README
