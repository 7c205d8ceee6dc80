"""The section on rankers of pools: what was run is shown with what it is measured against, and nothing else."""

import json
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from lamar import params
from lamar.errors import LamarError
from lamar.evaluation.metrics import METRICS, summarise
from lamar.evaluation.ranks import SCHEMA, write
from lamar.report.chapter import Chapter, chapters
from lamar.report.page import render, summary

REPOSITORY = Path(__file__).parents[2]


class Cells(HTMLParser):
    """The rows of every table by the table's label."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables, self.rows, self.cell = {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "div":
            self.rows = self.tables.setdefault(dict(attrs).get("aria-label"), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_data(self, data):
        self.cell = self.cell + data if self.cell is not None else None

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self.cell.split()))
            self.cell = None


@pytest.fixture(scope="module")
def chosen() -> params.Params:
    return params.load(REPOSITORY / "params.yaml")


def page(contents: list[Chapter], root: Path) -> str:
    return render(contents, root, {}, 20)


def put(root: Path, pools: str, run: str, greater: list[int], candidates: int, seeds: int = 1) -> pl.DataFrame:
    """Ranks of users 5, 6, ... and the metrics that come from them."""
    users = {"user": range(5, 5 + len(greater)), "item": 0, "greater": greater, "equal": 0, "candidates": candidates}
    table = pl.concat([pl.DataFrame(users).with_columns(seed=pl.lit(seed)) for seed in range(seeds)])
    table = table.select(*SCHEMA).cast(SCHEMA)
    write(root / f"ranks/ml-100k/{pools}/{run}.parquet", table)
    folder = root / "metrics/ml-100k" / pools
    folder.mkdir(parents=True, exist_ok=True)
    signature = {
        "model": "sasrec",
        "features": "original",
        "control": "none",
        "signals": {},
        "settings": {},
        "seeds": list(range(seeds)),
        "ties": "expected",
        "users": len(greater),
        "raw": {"variant": "mirror"},
        "sequences": {"items": "0123456789abcdef"},
        "versions": {"lamar": "0.1.0"},
    }
    written = {f"{run}.json": summarise(table, "expected"), f"{run}.signature.json": signature}
    if pools != "full":
        free = (
            {"answers": 0, "outside": 0, "target": 0}
            if run.startswith("pool")
            else {"answers": 8, "outside": 2, "target": 3}
        )
        orders = {"rank_change": 1.25, "first_changed": 0.5}
        written[f"{run}.checks.json"] = {"checked": 4, "target_present": 0.75, "orders": orders, "free": free}
        written[f"{run}.full-history.json"] = {"users": 0}
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    return table


def test_none_run_yet(tmp_path, chosen):
    put(tmp_path, "full", "sasrec", [3, 4], 50)
    contents = chapters(tmp_path, chosen)
    assert "None run yet." in page(contents, tmp_path)
    assert "pool-popularity-small,untuned-small-original" in page(contents, tmp_path)
    assert summary(contents)["ml-100k"]["rankers"] == {}


def test_numbers_fall_from_pool_to_pool(tmp_path, chosen):
    put(tmp_path, "full", "sasrec", [3, 4], 50)
    # pool-popularity was not asked about the third user with 100, nor about the second with 500; lora-lamar has one
    # seed with 100
    for pools, greater, candidates in (("sampled-20", [0, 1, 20], 21), ("sampled-99", [4, 30], 100)):
        put(tmp_path, pools, "pool-popularity", greater, candidates)
    put(tmp_path, "sampled-499", "pool-popularity", [2], 500)
    put(tmp_path, "sampled-20", "lora-lamar", [0, 0], 21, seeds=2)
    put(tmp_path, "sampled-99", "lora-lamar", [1, 1], 100)
    put(tmp_path, "sampled-20", "no-longer-a-run", [0, 0, 0], 21)
    tables = Cells(page(chapters(tmp_path, chosen), tmp_path)).tables
    (falling,) = [rows for label, rows in tables.items() if label and label.startswith("NDCG@10 by the number of")]
    assert falling == [
        ["NDCG@10 of", "21", "100", "500", "users", "seeds"],
        ["pool-popularity", "1.0000", "0.3869", "0.5000", "1", "1"],
        ["lora-lamar", "1.0000", "0.6309", "–", "2", "1"],
        ["pool-popularity", "0.8155", "0.1934", "–", "2", "1"],
        ["no-longer-a-run", "1.0000", "–", "–", "3", "1"],
        ["chance", "0.2164", "0.0454", "0.0091", "–", "–"],
    ]


def test_a_re_ranker_stands_beside_the_first_stage_alone(tmp_path, chosen):
    """Of three users of the first stage, two were re-ranked: it is shown on these."""
    put(tmp_path, "full", "sasrec", [0, 9, 700], 1000)
    first = put(tmp_path, "full", "sasrec", [0, 9, 700], 1000)
    put(tmp_path, "sasrec-100", "pool-popularity", [1, 2], 1000)
    contents = chapters(tmp_path, chosen)
    tables = Cells(page(contents, tmp_path)).tables
    rows = {row[0]: row[1:4] for row in tables["sasrec-100 on ml-100k"]}
    alone = summarise(first.filter(pl.col("user") < 7), "expected")
    assert rows["sasrec alone"] == [f"{alone[name]:.4f}" for name in ("recall@10", "ndcg@10", "mrr")]
    assert rows["pool-popularity"][2] == f"{(1 / 2 + 1 / 3) / 2:.4f}"
    assert "chance" not in rows
    assert "The target is in 75.0% of the pools." in page(contents, tmp_path)
    assert summary(contents)["ml-100k"]["rankers"]["sasrec-100"]["first_stage"]["mrr"] == alone["mrr"]


def test_checks_are_shown_and_a_ranker_that_cannot_write_has_dashes(tmp_path, chosen):
    put(tmp_path, "full", "sasrec", [3, 4], 50)
    for run in ("lora-lamar", "pool-popularity"):
        put(tmp_path, "sampled-20", run, [0, 1], 21)
    rows = Cells(page(chapters(tmp_path, chosen), tmp_path)).tables["Checks of sampled-20 on ml-100k"]
    assert rows[1:] == [
        ["lora-lamar", "4", "1.25", "50.0%", "8", "2 (25.0%)", "3 (37.5%)"],
        ["pool-popularity", "4", "1.25", "50.0%", "–", "–", "–"],
    ]


def test_an_incomplete_file_is_named(tmp_path, chosen):
    put(tmp_path, "full", "sasrec", [3, 4], 50)
    put(tmp_path, "sampled-20", "lora-lamar", [0, 1], 21)
    path = tmp_path / "metrics/ml-100k/sampled-20/lora-lamar.json"
    path.write_text(json.dumps(dict.fromkeys(METRICS, 0.5)))
    with pytest.raises(LamarError, match=r"sampled-20/lora-lamar.json: no ndcg@10"):
        chapters(tmp_path, chosen)
