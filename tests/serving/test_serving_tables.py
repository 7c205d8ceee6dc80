"""The files of histories and of new items, in every format."""

import json

import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.serving.tables import read_histories, read_new_items, texts_of

USERS = {"user": ["ann", "007", "cleo"], "history": [["1", "2"], ["03"], []]}


def histories(path):
    return pl.concat(read_histories(path))


def write(path, columns):
    if path.suffix == ".csv":
        texts = {name: [",".join(v) if isinstance(v, list) else v for v in values] for name, values in columns.items()}
        pl.DataFrame(texts).write_csv(path)
    elif path.suffix == ".jsonl":
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_histories(tmp_path, kind):
    table = histories(write(tmp_path / f"users.{kind}", USERS))
    assert table.to_dict(as_series=False) == USERS


def test_ids_that_are_numbers(tmp_path):
    table = histories(write(tmp_path / "users.jsonl", {"user": [7], "history": [[50, 172]]}))
    assert table.rows() == [("7", ["50", "172"])]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_new_items(tmp_path, kind):
    columns = {"sku": ["007", "b"], "name": [" two\nlines ", "tab"], "kinds": [["red", "blue"], ["green"]]}
    table = read_new_items(write(tmp_path / f"new.{kind}", columns), "sku", ["name", "kinds"])
    assert table.columns == ["item_id", "name", "kinds"]
    assert table["item_id"].to_list() == ["007", "b"]
    assert table["name"].to_list() == ["two lines", "tab"]
    assert table["kinds"].to_list() == (["red,blue", "green"] if kind == "csv" else ["red, blue", "green"])


@pytest.mark.parametrize(
    ("ids", "complaint"), [(["a", "a"], "item id 'a' is there 2 times"), (["a", " "], "an item has no id")]
)
def test_ids_that_name_no_item(tmp_path, ids, complaint):
    path = write(tmp_path / "new.jsonl", {"item_id": ids, "name": ["x", "y"]})
    with pytest.raises(LamarError, match=f"new.jsonl: {complaint}"):
        read_new_items(path, "item_id", ["name"])


def test_histories_of_fixed_length(tmp_path):
    lists = pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2))
    pl.DataFrame({"user": ["a"], "history": lists}).write_parquet(tmp_path / "users.parquet")
    assert histories(tmp_path / "users.parquet").rows() == [("a", ["1", "2"])]


def test_lists_of_numbers_are_text_and_what_is_neither_is_left_out(tmp_path):
    (tmp_path / "new.jsonl").write_text('{"item_id": "a", "sizes": [1, 2], "name": "n", "more": {"x": 1}}\n')
    assert read_new_items(tmp_path / "new.jsonl", "item_id", ["name"]).row(0, named=True) == {
        "item_id": "a", "sizes": "1, 2", "name": "n"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['{"user": "a", "history": "3"}', '{"user": "b", "history": ["3"]}'], "some histories are lists"),
        (['{"user": "a", "history": {"x": 1}}'], "column 'history' is Struct"),
    ],
)
def test_histories_of_another_kind_are_refused(tmp_path, lines, complaint):
    (tmp_path / "users.jsonl").write_text("\n".join(lines))
    with pytest.raises(LamarError, match=complaint):
        histories(tmp_path / "users.jsonl")


def test_ids_in_two_columns_are_refused(tmp_path):
    path = write(tmp_path / "new.jsonl", {"sku": ["a"], "item_id": ["x"], "name": ["n"]})
    with pytest.raises(LamarError, match="the ids are in 'sku'"):
        read_new_items(path, "sku", ["name"])


def test_a_signal_by_either_name():
    new = pl.DataFrame({"name": ["x"], "signal": ["calm"]})
    named = pl.DataFrame({"name": ["x"], "Mood": ["calm"]})
    for given in (new, named):
        assert texts_of(given, ["name", "Mood", "Mood 2"], ["name"]).rows() == [("x", "calm", "")]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("users.xlsx", "", "unknown format; use .csv, .jsonl, .parquet"),
        ("users.csv", "user,items\na,1\n", "no column 'history'; it has user, items"),
        ("users.csv", "", "not readable"),
        ("users.jsonl", '{"user": ', "not readable"),
        ("users.parquet", "user", "not readable"),
        ("gone.csv", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, name, content, complaint):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(LamarError, match=f"{name}: {complaint}"):
        histories(tmp_path / name)
