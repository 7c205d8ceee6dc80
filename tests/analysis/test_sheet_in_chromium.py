"""The rating sheet in a real browser: rate, reload, go on, export, read back."""

import json
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
from chromium import LOW_CONTRAST, Page, chromium, served

from lamar.analysis.ratings import read_raters
from lamar.analysis.sheet import sheet_page

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")

HOSTILE = '</script><script>document.title = "taken"</script>'
SHEET = pl.DataFrame(
    {
        "item_id": ["a", "b", "c"],
        "title": [HOSTILE, 'Saw, 12" blade', "Glue"],
        "signal": ["Cuts wood", 'For "hard" wood,\nand soft', "<b>Joins</b> paper"],
    }
)
PLACE = "document.getElementById('place').textContent"
STATUS = "document.querySelector('[role=status]').textContent"
LETTERS = "a name may have letters from a to z, digits, - and _ only, such as Ann-Lee"
LLMS = "names that begin with judge- are those of LLM judges: choose another"
PRESSED = "[...document.querySelectorAll('[aria-pressed=true]')].map(button => button.textContent)"


def test_a_person_rates_reloads_goes_on_exports_and_the_file_is_read(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sheet.html").write_text(sheet_page("tiny", "writer", SHEET), encoding="utf-8")
    # Served: a Chromium without a window forgets, once in a while, what a page from a file stored before it was left.
    with served(site) as address, chromium(tmp_path) as page:
        sheet = f"{address}/sheet.html"
        page.open(sheet)
        assert page.run("document.title") == "Rate signals: tiny, writer"
        assert page.run("document.querySelector('dd').textContent") == HOSTILE
        for key in ("1", "5"):
            page.press(key)
        assert page.run(PLACE) == "Item 2 of 3"
        page.press("0")
        time.sleep(1)  # Chromium hands its storage over a moment later, which nobody who leaves a page outruns
        page.open("about:blank#elsewhere")
        page.open(sheet)
        goes_on(page)
        assert page.run(LOW_CONTRAST) == []
        page.run("document.getElementById('export').click()")
        filled = downloaded(tmp_path / "ann.csv")
        assert page.errors == []
    folder = tmp_path / "ratings"
    folder.mkdir()
    filled.rename(folder / "ann.csv")
    (ann,) = read_raters(folder, SHEET)
    assert ann.answers == {"relevancy": [1, 0, 0.5], "usefulness": [0.5, 1, 0]}


def goes_on(page: Page) -> None:
    """After the reload: half of item 2 is there; the rest is rated, one answer by the mouse, and one is changed."""
    assert page.run(PLACE) == "Item 2 of 3"
    assert page.run(PRESSED) == ["0"]
    page.press("1")
    page.press("5")
    assert page.run("document.getElementById('export').disabled")
    page.run("document.querySelectorAll('fieldset')[1].querySelectorAll('button')[2].click()")
    page.press("ArrowLeft")
    assert page.run(PRESSED) == ["0", "1"]
    page.press("ArrowRight")
    page.run("document.querySelectorAll('fieldset')[1].querySelectorAll('button')[0].click()")
    assert page.run("document.getElementById('export').disabled")  # no name yet
    assert page.run(STATUS) == "3 of 3 rated; write your name to export"
    give_name(page, "Zoë")
    assert page.run("document.getElementById('export').disabled")
    give_name(page, "ann")
    assert page.run(STATUS) == "3 of 3 rated"
    assert not page.run("document.getElementById('export').disabled")


def give_name(page: Page, name: str) -> None:
    """As somebody who types it."""
    field = "document.getElementById('name')"
    page.run(f"{field}.value = {json.dumps(name)}; {field}.dispatchEvent(new Event('input'))")


def test_a_name_that_is_refused_says_why(tmp_path: Path) -> None:
    written = tmp_path / "sheet.html"
    written.write_text(sheet_page("tiny", "writer", SHEET.head(1)), encoding="utf-8")
    with chromium(tmp_path) as page:
        page.open(written.as_uri())
        assert "drawn from those that the rules kept" in page.run("document.body.textContent")
        assert page.run(STATUS) == "0 of 1 rated"
        page.press("1")
        page.press("1")
        for name, reason in (("Ann Lee", LETTERS), ("Zoë", LETTERS), ("judge-ann", LLMS)):
            give_name(page, name)
            assert page.run(STATUS) == f"1 of 1 rated; {reason}"
            assert page.run("document.getElementById('export').disabled")
        give_name(page, "Ann-Lee")
        assert page.run(STATUS) == "1 of 1 rated"
        assert not page.run("document.getElementById('export').disabled")
        assert page.errors == []


def downloaded(path: Path) -> Path:
    ends = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < ends, "nothing was downloaded"
        time.sleep(0.1)
    return path
