from __future__ import annotations

import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from catalogues import Prepared, make_dataset

from lamar.data.prepare import prepare
from lamar.errors import LamarError
from lamar.params import Prepare

ITEMS = "item,title,kind\n" + "".join(f"i{n},Title {n},{'even' if n % 2 == 0 else ''}\n" for n in range(6))
TABLE = {"reader": "table", "attributes": ["title", "kind"], "items": "items.csv", "interactions": "buys.csv"}


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[list[tuple[str, int, int]]], Path]:
    """Raw tables of a shop whose interactions are (user, number of the item, timestamp)."""

    def write(rows: list[tuple[str, int, int]]) -> Path:
        folder = tmp_path / "shop"
        folder.mkdir(exist_ok=True)
        (folder / "items.csv").write_text(ITEMS)
        lines = [f"{user},i{item},{time}" for user, item, time in rows]
        (folder / "buys.csv").write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
        return folder

    return write


def own(**changes: Any) -> Any:
    return make_dataset(**(TABLE | {"sources": []} | changes))


ROWS = [("a", 0, 1), ("a", 1, 2), ("a", 1, 3), ("a", 2, 3), ("b", 0, 1), ("b", 1, 1), ("b", 2, 2), ("c", 5, 1)]


def test_statistics_by_hand(shop: Any, prepared: Callable[..., Prepared]) -> None:
    statistics = prepared(shop(ROWS), own()).statistics
    dropped = statistics.pop("dropped")
    assert statistics == {
        "variant": "test",
        "users": 2,
        "items": 3,
        "interactions": 7,
        "length_min": 3,
        "length_median": 3.5,
        "length_mean": 3.5,
        "length_max": 4,
        "density": 1.16666667,
        "repeated_pairs": 1,
        "last_pairs_tied": 1,
        "last_pairs_tied_share": 0.5,
        "users_confirm": statistics["users_confirm"],
        "coverage": {"title": 1.0, "kind": 0.6667},
        "malformed": {},
    }
    assert dropped["users_too_few_interactions"] == 1
    assert dropped["interactions_of_those_users"] == 1
    assert dropped["items_without_interactions"] == 3


@pytest.mark.parametrize(
    ("expected", "share", "line"),
    [
        ({"users": 2, "items": 3, "interactions": 7}, 1.0, "OK: the counts that params.yaml expects"),
        ({"users": 9, "items": 3, "interactions": 7}, 1.0, "WARNING: params.yaml expects 9 users, 3 items, 7 inter"),
        ({"users": 9, "items": 3, "interactions": 7}, 0.99, "not compared: 9 users, 3 items, 7 interactions are of"),
    ],
)
def test_counts_are_compared(
    expected: dict[str, int], share: float, line: str, shop: Any, prepared: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(shop(ROWS), own(expected={"test": expected}, sample_users=share))
    said = capsys.readouterr().err
    assert "shop (test): 2 users, 3 items, 7 interactions" in said
    assert line in said


def test_a_sample_of_users(shop: Any, prepared: Callable[..., Prepared]) -> None:
    rows = [(f"user {user}", item, item) for user in range(500) for item in range(3)]
    sample = prepared(shop(rows), own(sample_users=0.2))
    assert 70 < sample.split.height < 130
    assert sample.statistics["dropped"]["users_not_sampled"] == 500 - sample.split.height
    assert sample.split["user_id"].is_sorted()
    assert sample.split["fold"].unique().sort().to_list() == ["confirm", "explore"]


def test_nothing_left(shop: Any, prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    with pytest.raises(LamarError, match=r"dataset shop: no user has 5 interactions or more; 8 were usable"):
        prepared(shop(ROWS), own(), min_interactions=5)
    assert not (tmp_path / "prepared").exists()


def test_the_same_twice(shop: Any, prepared: Callable[..., Prepared]) -> None:
    def run() -> list[bytes]:
        folder = prepared(shop(ROWS), own(ties="shuffle")).folder
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    assert run() == run()


def test_before_fetch(tmp_path: Path, shop: Any, prepared: Callable[..., Prepared]) -> None:
    options = Prepare(seed=0, min_interactions=3, max_malformed=0.01, confirm_share=0.5)
    with pytest.raises(LamarError, match=r"none/source\.json: no such file; run the stage"):
        prepare("none", own(), options, tmp_path / "none", tmp_path / "out", tmp_path / "s.json")
    folder = shop(ROWS)
    prepared(folder, own())
    (folder / "buys.csv").unlink()
    with pytest.raises(LamarError, match=r"buys\.csv: no such file; run the stage fetch"):
        prepare("shop", own(), options, folder, tmp_path / "out", tmp_path / "s.json")


def test_both_stages(stage: Any, shop: Any, tmp_path: Path) -> None:
    shop(ROWS)
    entry = TABLE | {"prompt": "any", "ties": "file", "sample_users": 1.0}
    datasets = {"mine": entry | {"items": "shop/items.csv", "interactions": "shop/buys.csv"}}
    for name in ("fetch", "prepare"):
        done = stage(name, "mine", datasets)
        assert done.returncode == 0, done.stderr
    assert "mine (own): 2 users, 3 items, 7 interactions" in done.stderr
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("mine/*")}
    tables = {f"data/prepared/mine/{table}.parquet" for table in ("items", "interactions", "split")}
    raw = {f"data/raw/mine/{name}" for name in ("items.csv", "buys.csv", "source.json")}
    assert written == tables | raw | {"metrics/mine/statistics.json"}


def test_tables_on_a_full_disk(stage: Any, shop: Any, tmp_path: Path) -> None:
    """No file may grow beyond 100 bytes: none of the tables is left."""
    shop(ROWS)
    entry = TABLE | {"prompt": "any", "ties": "file", "sample_users": 1.0}
    datasets = {"mine": entry | {"items": "shop/items.csv", "interactions": "shop/buys.csv"}}
    stage("fetch", "mine", datasets)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100, 100))
    done = stage("prepare", "mine", datasets, preexec_fn=limit)
    assert done.returncode == 1
    assert "items.parquet: cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert [path for path in tmp_path.rglob("*") if "prepared" in path.parts and path.is_file()] == []
