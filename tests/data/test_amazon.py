from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from catalogues import Prepared, make_dataset

from lamar.data.amazon import clean
from lamar.errors import LamarError

AMAZON = make_dataset()
USERS = [f"U{n}" for n in range(4)]
ITEMS = ["B1", "B2", "B3"]


def review(user: str, item: str, time: int) -> dict[str, Any]:
    return {"overall": 5.0, "reviewerID": user, "asin": item, "unixReviewTime": time, "reviewText": "fine", "vote": "2"}


def meta(item: str, **fields: Any) -> dict[str, Any]:
    return {"asin": item, "title": f"Thing {item}", "brand": "", "category": [], "also_buy": ["B9"]} | fields


REVIEWS = [review(user, item, 86400 * n) for user in USERS for n, item in enumerate(ITEMS)]
METADATA = [meta(item) for item in ITEMS]


def test_fields_are_cleaned_and_joined(amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared]) -> None:
    category = ["Industrial &amp; Scientific", "</span></span>", " Tapes\n"]
    rich = meta("B1", title="<b>Glue</b> &amp; Tape", category=category, description=["One.", "", "x" * 3000])
    result = prepared(amazon_folder(REVIEWS, [rich, *METADATA[1:]]), AMAZON)
    assert result.items.columns == ["item", "item_id", "title", "brand", "category", "description"]
    first = result.items.row(0, named=True)
    assert first["title"] == "Glue & Tape"
    assert first["category"] == "Industrial & Scientific, Tapes"
    assert first["description"] == "One. " + "x" * 1995
    assert result.items["brand"].to_list() == ["", "", ""]
    assert result.statistics["coverage"]["category"] == 0.3333


def test_what_is_left_out_is_counted(amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared]) -> None:
    metadata = [
        *METADATA,
        meta("B1", title="Second"),
        meta("B4", title=" <br> "),
        meta("B5"),
        meta("B1", title="Third"),
    ]
    reviews = [*REVIEWS, review("U0", "B4", 1), review("U1", "B4", 1), review("U0", "B6", 1), review("U9", "B1", 1)]
    result = prepared(amazon_folder(reviews, metadata), AMAZON)
    assert result.items["title"].to_list() == ["Thing B1", "Thing B2", "Thing B3"]
    assert result.statistics["interactions"] == 12
    assert result.statistics["dropped"] == {
        "interactions_item_without_title": 2,
        "interactions_of_those_users": 1,
        "interactions_unknown_item": 1,
        "items_duplicate": 2,
        "items_without_interactions": 0,
        "items_without_title": 1,
        "users_not_sampled": 0,
        "users_too_few_interactions": 1,
    }


def test_malformed_lines(
    amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    many = [review(f"U{n}", item, k) for n in range(100) for k, item in enumerate(ITEMS)]
    folder = amazon_folder([*many[:10], '{"reviewerID": "U1", "as', *many[10:], {"asin": "B1"}, "[]"], METADATA)
    result = prepared(folder, AMAZON)
    assert result.statistics["malformed"] == {"no reviewerID, asin or unixReviewTime": 1, "not a JSON object": 2}
    assert "malformed: no reviewerID, asin or unixReviewTime 1, not a JSON object 2" in capsys.readouterr().err
    with pytest.raises(LamarError, match=r"Some_Things_5\.json\.gz:11: not a JSON object; 3 of 303 .*max_malformed"):
        prepared(folder, AMAZON, max_malformed=0.005)


@pytest.mark.parametrize("name", ["Some_Things_5.json.gz", "meta_Some_Things.json.gz"])
@pytest.mark.parametrize("harm", ["cut", "changed", "not gzip"])
def test_broken_gzip_leaves_nothing(
    name: str, harm: str, amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    folder = amazon_folder(REVIEWS * 50, METADATA * 50)
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    harmed = {
        "cut": whole[:middle],
        "changed": whole[:middle] + bytes(255 - byte for byte in whole[middle:]),
        "not gzip": b"<html>not found</html>",
    }
    (folder / name).write_bytes(harmed[harm])
    with pytest.raises(LamarError) as raised:
        prepared(folder, AMAZON)
    assert str(raised.value).startswith(f"{folder / name}: broken or cut short")
    assert str(raised.value).endswith("delete it and fetch it again")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "prepared").exists()
    assert not (tmp_path / "statistics.json").exists()


def test_a_field_that_no_item_has(amazon_folder: Callable[..., Path], prepared: Callable[..., Prepared]) -> None:
    with pytest.raises(LamarError, match=r"meta_Some_Things\.json\.gz: no item has the field 'colour' that params"):
        prepared(amazon_folder(REVIEWS, METADATA), make_dataset(attributes=["title", "colour"]))


def test_file_names(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "reviews.json.gz").touch()
    with pytest.raises(LamarError, match=r"raw: needs one file named <Category>_5\.json\.gz; it has reviews\.json\.gz"):
        prepared(tmp_path / "raw", AMAZON)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("A &lt;b&gt;bold&lt;/b&gt; claim", "A bold claim"),
        ("<script>var a = 1 < 2;</script>Tape<!-- x -->", "Tape"),
        ("3 < 4 and 5 > 4", "3 < 4 and 5 > 4"),
        ("  two\n\tlines ", "two lines"),
        ("half \ud800 pair", "half ? pair"),
    ],
)
def test_clean(raw: str, expected: str) -> None:
    assert clean(raw) == expected
