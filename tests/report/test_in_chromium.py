"""The page in a real browser: it sorts, it searches, it is legible, it prints, and nothing goes wrong."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import FAINT_MARKS, LOW_CONTRAST, Page, chromium
from test_report import HOSTILE, page_of, root, significance  # noqa: F401 (root is a fixture)

from lamar import params

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")


@pytest.fixture
def page(root: Path) -> Iterator[Page]:  # noqa: F811
    (root / "metrics/tiny/significance.json").write_text(json.dumps(significance()))
    (root / "metrics/tiny/buckets.csv").write_text(
        "by,bucket,users,run,against,metric,value,low,high\n"
        "popularity,> 20,1234,recformer-lamar,recformer-original,ndcg@10,0.02,0.01,0.03\n"
        "popularity,> 20,1234,recformer-lamar,recformer-placebo,ndcg@10,0.01,-0.01,0.03\n"
    )
    written = root / "index.html"
    written.write_text(page_of(root, params.load(REPOSITORY / "params.yaml")), encoding="utf-8")
    with chromium(root) as opened:
        opened.open(written.as_uri())
        yield opened


# Elements that carry what a chart says, and the property that has their colour.
MARKS = [
    (".fill", "backgroundColor"),
    (".dot", "backgroundColor"),
    (".legend i", "backgroundColor"),
    (".reach", "borderTopColor"),
    (".whisker", "borderLeftColor"),
    ("polyline", "stroke"),
]
CELLS = "[...document.querySelector('table.sortable tbody').rows].map(row => row.cells[{}].textContent.trim())"
SEARCH = "const i = document.querySelector('input[type=search]'); i.value = {}; i.dispatchEvent(new Event('input'));"


def test_the_page_works(page):
    """One browser for all of it: it takes a second to start."""
    prints_what_is_closed(page)
    opens_the_list_of_files(page)
    sorts(page)
    every_table_of_rows_sorts(page)
    searches(page)
    is_legible_in_light_and_dark(page)
    fits_a_phone(page)
    prints_dark_on_light(page)
    assert page.errors == []


def prints_what_is_closed(page: Page) -> None:
    states = "[...document.querySelectorAll('details')].map(one => one.open)"
    page.run("document.querySelector('details').open = true")
    before = page.run(states)
    assert len(before) > 3
    assert before.count(True) == 1
    page.run(f"window.addEventListener('beforeprint', () => {{ window.printed = {states}; }})")
    page.call("Page.printToPDF")
    assert page.run("window.printed") == [True] * len(before)
    assert page.run(states) == before


def opens_the_list_of_files(page: Page) -> None:
    page.run("document.querySelector('a[href=\"#files-tiny\"]').click()")
    page.wait_for("document.getElementById('files-tiny').closest('details').open")


def sorts(page: Page) -> None:
    heading = "document.querySelectorAll('table.sortable thead th')[1]"
    page.run(f"{heading}.querySelector('button').click()")
    ascending = [float(cell[:6]) for cell in page.run(CELLS.format(1))]
    assert ascending == sorted(ascending)
    assert page.run(f"{heading}.getAttribute('aria-sort')") == "ascending"
    page.run(f"{heading}.querySelector('button').click()")
    assert [float(cell[:6]) for cell in page.run(CELLS.format(1))] == ascending[::-1]
    page.run("document.querySelectorAll('table.sortable thead th')[0].querySelector('button').click()")
    names = page.run(CELLS.format(0))
    assert names == sorted(names)
    assert page.run(f"{heading}.getAttribute('aria-sort')") is None


def every_table_of_rows_sorts(page: Page) -> None:
    """All but the main table, whose rows are metrics."""
    tables = "[...document.querySelectorAll('table:not(.models)')]"
    assert page.run(f"{tables}.length") > 8
    assert page.run(
        f"{tables}.every(one => one.querySelectorAll('thead th button').length === one.rows[0].cells.length)"
    )


def searches(page: Page) -> None:
    page.run(f"(() => {{ {SEARCH.format(json.dumps('BOLD alert'))} }})()")
    assert page.run("document.querySelector('[role=status]').textContent") == "1 of 2 items"
    card = page.run("document.querySelector('.card').textContent")
    assert card.startswith(HOSTILE)  # as text
    assert "writer: <b>bold</b>" in card
    assert "user 7: rank 10 with recformer-original, 1 with recformer-lamar" in card
    page.run(f"(() => {{ {SEARCH.format(json.dumps('dropped'))} }})()")
    assert "rejected (too short): no" in page.run("document.querySelector('.card').textContent")
    page.run(f"(() => {{ {SEARCH.format(json.dumps('nowhere'))} }})()")
    assert page.run("document.querySelectorAll('.card').length") == 0


def is_legible_in_light_and_dark(page: Page) -> None:
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert page.run(LOW_CONTRAST) == [], scheme
        assert page.run(f"{FAINT_MARKS}({json.dumps(MARKS)})") == [], scheme
        assert every_colour_is_seen(page) == [], scheme
    page.run("document.querySelector('.reach').style.opacity = 0.3")
    assert len(page.run(f"{FAINT_MARKS}({json.dumps(MARKS)})")) == 1
    page.run("document.querySelector('.reach').style.opacity = 1")


def every_colour_is_seen(page: Page) -> list:
    """What is faint of the six colours of charts, of which this page has not all."""
    page.run(
        "document.querySelector('.legend').insertAdjacentHTML('beforeend', "
        "[0, 1, 2, 3, 4, 5].map(n => `<i class='colour${n} probe'></i>`).join(''))"
    )
    faint = page.run(f"{FAINT_MARKS}([['.probe', 'backgroundColor']])")
    page.run("document.querySelectorAll('.probe').forEach(one => one.remove())")
    return faint


def fits_a_phone(page: Page) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360


def prints_dark_on_light(page: Page) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert page.run(LOW_CONTRAST) == []
    red = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert page.run(red) > 240
    exact = "[...document.querySelectorAll('.fill, .dot')].every(e => getComputedStyle(e).printColorAdjust === 'exact')"
    assert page.run(exact)
    assert page.run(f"{FAINT_MARKS}({json.dumps(MARKS)})") == []


def test_the_published_page_works(tmp_path: Path) -> None:
    """The one in docs/, with its thousands of items."""
    with chromium(tmp_path) as page:
        page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
        page.open((REPOSITORY / "docs/report.html").as_uri())
        page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.run("document.documentElement.scrollWidth") <= 360
        finds_an_item(page)
        sorts_by_the_first_number(page)
        assert page.errors == []


def finds_an_item(page: Page) -> None:
    data = "JSON.parse(document.querySelector('script[type=\"application/json\"]').textContent)"
    title = page.run(f"{data}.items[0][1][0]")
    page.run(f"(() => {{ {SEARCH.format(json.dumps(title))} }})()")
    cards = page.run("[...document.querySelectorAll('.card strong')].map(one => one.textContent)")
    assert title in cards


def sorts_by_the_first_number(page: Page) -> None:
    page.run("document.querySelectorAll('table.sortable thead th')[1].querySelector('button').click()")
    values = [float(cell.split("±")[0][:6]) for cell in page.run(CELLS.format(1))]
    assert len(values) > 2
    assert values == sorted(values)
