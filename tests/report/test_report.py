"""The page and the JSON, built from small files of a made-up dataset."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from lamar import params
from lamar.errors import LamarError
from lamar.evaluation.metrics import METRICS
from lamar.report.charts import bars
from lamar.report.comparison import differences
from lamar.report.page import chapters, render, summary
from lamar.report.results import Result

HOSTILE = '<script>alert("x")</script>'
REPOSITORY = Path(__file__).parents[2]


def result(run: str, ndcg: float, std: float = 0.001, seeds: int = 3, **signature) -> Result:
    """A result whose other metrics are all 0.5; `signature` changes the default one."""
    model, _, features = run.partition("-")
    signals = {} if features in ("", "original") else {"writer": "abc"}
    made = {
        "model": model,
        "features": features or "original",
        "control": "shuffled" if features == "placebo" else "none",
        "signals": signals,
        "settings": {"layers": 2},
        "seeds": list(range(seeds)),
        "ties": "expected",
        "raw": {"variant": "mirror", "files": {}},
        "sequences": {"items": "0123456789abcdef", "histories": "0"},
        "versions": {"lamar": "0.1.0"},
    }
    metrics = dict.fromkeys(METRICS, 0.5) | {f"{name}_std": 0.0 for name in METRICS}
    return Result(run, metrics | {"ndcg@10": ndcg, "ndcg@10_std": std}, made | signature)


RESULTS = [
    result("popularity", 0.02, std=0.0, seeds=1),
    result("recformer-original", 0.050),
    result("recformer-lamar", 0.0505, std=0.002),
    result("recformer-placebo", 0.0404),
]


@pytest.fixture
def root(tmp_path) -> Path:
    full = tmp_path / "metrics/tiny/full"
    full.mkdir(parents=True)
    for one in RESULTS:
        (full / f"{one.run}.json").write_text(json.dumps(one.metrics))
        (full / f"{one.run}.signature.json").write_text(json.dumps(one.signature))
    (tmp_path / "metrics/tiny/statistics.json").write_text('{"users": 12345, "coverage": {"title": 1.0}}')
    curves = tmp_path / "metrics/tiny/curves"
    curves.mkdir()
    (curves / "recformer-lamar.csv").write_text(
        "seed,stage,epoch,loss,validation_ndcg@10\n0,1,1,2.0,0.1\n0,1,2,1.5,\n0,1,3,1.0,0.3\n0,2,1,0.9,0.35\n"
    )
    quality = tmp_path / "metrics/tiny/writer/quality.json"
    quality.parent.mkdir()
    quality.write_text('{"kept": 1, "kept_share": 0.5, "dropped": {"too short": 1}}')
    for folder in ("signals", "prepared"):
        (tmp_path / "data" / folder / "tiny").mkdir(parents=True)
    items = {"item": [0, 1], "item_id": ["a", "b"], "title": [HOSTILE, "Dropped"]}
    pl.DataFrame(items).write_parquet(tmp_path / "data/prepared/tiny/items.parquet")
    signals = {"item_id": ["a", "b"], "name": "Use", "signal": ["<b>bold</b>", "no"], "kept": [True, False]}
    pl.DataFrame(signals).write_parquet(tmp_path / "data/signals/tiny/writer.parquet")
    return tmp_path


@pytest.fixture(scope="module")
def chosen() -> params.Params:
    return params.load(REPOSITORY / "params.yaml")


class Elements(HTMLParser):
    """Every element of a page, and whether all that were opened are closed."""

    VOID = {"meta", "line", "br", "link", "img"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_item_text_is_escaped(root, chosen):
    page = render(chapters(root, chosen))
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "Dropped" not in page
    assert not {"script", "b"} & {tag for tag, _ in Elements(page).found}


def test_the_page_is_whole_and_asks_nobody(root, chosen):
    page = render(chapters(root, chosen))
    elements = Elements(page)
    assert elements.open == []
    links = [attrs[name] for _, attrs in elements.found for name in ("href", "src") if name in attrs]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"https?:|url\(|@import|nan", page)
    assert page == render(chapters(root, chosen))


def test_the_page_shows_results_differences_curves_and_statistics(root, chosen):
    text = " ".join(re.sub(r"<[^>]+>", " ", render(chapters(root, chosen))).replace("&nbsp;", " ").split())
    assert "recformer lamar 0.0505 ± 0.0020" in text
    assert "recformer-lamar against recformer-original : NDCG@10 +1.0% , within one standard deviation" in text
    assert "recformer-lamar against recformer-placebo : NDCG@10 +25.0% , more than one standard deviation" in text
    assert "popularity 0.0200" in text
    assert "recformer: validation NDCG@10" in text
    assert "12,345" in text
    assert "too short 1" in text


def test_without_the_data_the_numbers_stay(root, chosen):
    (root / "data/signals/tiny/writer.parquet").unlink()
    page = render(chapters(root, chosen))
    assert "not in this checkout" in page
    assert "kept share" in page


def test_summary(root, chosen):
    tiny = summary(chapters(root, chosen))["tiny"]
    assert list(tiny["runs"]) == ["popularity", "recformer-original", "recformer-lamar", "recformer-placebo"]
    assert tiny["runs"]["recformer-lamar"]["ndcg@10"] == 0.0505
    assert tiny["runs"]["recformer-lamar"]["seeds"] == 3
    against_original, against_placebo = tiny["differences"]
    assert against_original["against"] == "recformer-original"
    assert against_original["ndcg@10"] == {"relative": 0.01, "noise": True}  # 0.0005 / 0.050, deviation 0.002
    assert against_placebo["ndcg@10"] == {"relative": 0.25, "noise": False}  # 0.0101 / 0.0404


def test_a_difference_from_one_seed_is_noise():
    (only,) = differences([result("m-original", 0.1, std=0.0, seeds=1), result("m-lamar", 0.9)])
    assert only.changes["ndcg@10"].noise


def test_runs_of_other_settings_or_models_are_not_compared():
    other = result("recformer-original", 0.1, settings={"layers": 3})
    assert differences([other, result("sasrec-original", 0.1), result("recformer-lamar", 0.9)]) == []


def test_bars():
    chart = bars(RESULTS)
    assert [bar.result.run for bar in chart.bars] == ["recformer-original", "recformer-lamar", "recformer-placebo"]
    full = (0.0505 + 0.002) * 1.06  # the longest whisker and its headroom
    assert chart.reference == pytest.approx(100 * 0.02 / full, abs=0.01)
    assert chart.bars[1].width == pytest.approx(100 * 0.0505 / full, abs=0.01)
    assert chart.bars[1].low == pytest.approx(100 * 0.0485 / full, abs=0.01)


def test_curves(root, chosen):
    (chapter,) = chapters(root, chosen)
    validation, loss = chapter.curves
    first, second = validation.lines
    assert len(first.points.split()) == 3  # the first point twice, and the epoch with no validation left out
    assert len(set(second.points.split())) == 1
    assert loss.lines[0].points.startswith("0.0,")  # the first epoch is at the left edge
    assert loss.lines[1].points.startswith("100.0,")


def test_nothing_to_report(tmp_path, chosen):
    with pytest.raises(LamarError, match="no results to report; run dvc repro"):
        chapters(tmp_path, chosen)


def test_a_result_without_its_signature_or_a_metric(root, chosen):
    path = root / "metrics/tiny/full/popularity.json"
    path.write_text('{"mrr": 1.0}')
    with pytest.raises(LamarError, match=r"popularity\.json: no ndcg@10; evaluate this run again"):
        chapters(root, chosen)
    (root / "metrics/tiny/full/popularity.signature.json").unlink()
    with pytest.raises(LamarError, match=r"popularity\.signature\.json: no such file"):
        chapters(root, chosen)
