from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lamar.errors import LamarError
from lamar.params import load

SHOP = {
    "reader": "table",
    "attributes": ["title"],
    "prompt": "any",
    "ties": "file",
    "sample_users": 1.0,
    "items": "items.csv",
    "interactions": "buys.csv",
}
RAW = {"reader": "amazon", "items": None, "interactions": None}
COMPLETE = "reader: table needs items and interactions"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": None}, f"datasets.shop: {COMPLETE}"),
        ({"items": "a/x.csv", "interactions": "b/x.csv"}, "datasets.shop: items and interactions need different"),
        ({"attributes": ["title", "item"]}, "datasets.shop: attributes are listed once each and none is called item"),
        ({"attributes": ["title", "title"]}, "datasets.shop: attributes are listed once each"),
        ({"sample_users": 0}, "datasets.shop.sample_users: Input should be greater than 0"),
        ({"tie": "file"}, "datasets.shop.tie: unknown key; remove it"),
        (RAW, "datasets.shop: missing sources: where the raw files come from"),
        (RAW | {"sources": [{"files": ["a"]}]}, "datasets.shop.sources.0: a source is exactly one of url, hub, mirror"),
        (RAW | {"sources": [{"url": "a", "hub": "b", "files": ["a"]}]}, "datasets.shop.sources.0: a source is exactly"),
        (RAW | {"sources": [{"url": "a"}]}, "datasets.shop.sources.0.files: missing key; add it"),
    ],
)
def test_a_dataset_that_cannot_be_used_names_the_key(
    changes: dict[str, Any], message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    params = yaml.safe_load((request.config.rootpath / "params.yaml").read_text())
    path = tmp_path / "params.yaml"
    params["matrix"]["datasets"] = ["shop"]
    path.write_text(yaml.safe_dump(params | {"datasets": {"shop": SHOP | changes}}))
    with pytest.raises(LamarError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)
