from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from catalogues import Prepared, make_dataset
from test_movielens import write_zip

from lamar.data.sources import fetch_dataset
from lamar.data.storylines import film_of, plain
from lamar.errors import LamarError
from lamar.files import read_json, sha256_of

FILMS = [
    "1::Matrix, The (1999)::Action",
    "2::Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)::Drama",
    "3::Postino, Il (The Postman) (1994)::Drama",
    "4::Sabrina (1954)::Comedy",
    "5::Brazil (Director's Cut) (1985)::Sci-Fi",
    "6::Nobody Knows It::Drama",
]
ROWS = [
    {"title": "The Matrix", "year": "1999-03-31", "storyline": "A hacker\nwakes up."},
    {"title": "the matrix", "year": 1999, "storyline": "A second row about the same film."},
    {"title": "Yao a Yao, Yao dao Waipo Qiao!", "year": "1995", "storyline": "A boy serves a singer."},
    {"title": "Il Postino", "year": 1994, "storyline": "A postman learns poetry."},
    {"title": "Sabrina", "year": 1995, "storyline": "The remake."},
    {"title": "Legend (Director's Cut)", "year": 1985, "storyline": "Another film of that year."},
    {"title": "Nobody Knows It", "year": "", "storyline": "Without a year."},
]
JOINED = ["A hacker wakes up.", "A boy serves a singer.", "A postman learns poetry.", "", "", ""]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv_gz(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pl.DataFrame([{name: str(value) for name, value in row.items()} for row in rows]).write_parquet(path)


WRITERS = {"plots.jsonl": write_jsonl, "plots.csv.gz": write_csv_gz, "plots.parquet": write_parquet}


def dataset(file: str, columns: dict[str, Any] | None = None, own: str = "data/own") -> Any:
    storylines = {"source": {"own": own, "files": [file]}, "columns": columns or {}}
    attributes = ["title", "genre", "storyline"]
    return make_dataset(reader="movielens", attributes=attributes, ties="shuffle", storylines=storylines)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with films that three users rated."""
    ratings = [f"{user}::{film}::5::{user * 10 + film}" for user in range(3) for film in range(1, 7)]
    texts = {"ml-1m/movies.dat": "\n".join(FILMS) + "\n", "ml-1m/ratings.dat": "\n".join(ratings) + "\n"}
    return write_zip(tmp_path / "ml" / "ml-1m.zip", texts)


@pytest.mark.parametrize("name", WRITERS)
def test_titles_and_years_are_joined(
    name: str, archive: Path, prepared: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS[name](archive / name, ROWS)
    result = prepared(archive, dataset(name))
    assert result.items.columns == ["item", "item_id", "title", "genre", "storyline"]
    assert result.items["storyline"].to_list() == JOINED
    assert result.statistics["storylines"] == {"file": name, "films": 6, "joined": 3, "share": 0.5}
    assert result.statistics["coverage"]["storyline"] == 0.5
    assert f"storylines: 3 of 6 films (50.0%) joined with {name}" in capsys.readouterr().err


def test_ids_are_joined_whatever_the_titles(archive: Path, prepared: Callable[..., Prepared]) -> None:
    write_csv_gz(
        archive / "p.csv.gz", [{"movieId": "4", "plot": "A chauffeur's daughter."}, {"movieId": 9, "plot": "-"}]
    )
    result = prepared(archive, dataset("p.csv.gz", {"item": "movieId", "storyline": "plot"}))
    assert result.items["storyline"].to_list() == ["", "", "", "A chauffeur's daughter.", "", ""]


def test_titles_that_end_in_the_year(archive: Path, prepared: Callable[..., Prepared]) -> None:
    write_jsonl(archive / "p.jsonl", [{"title": "The Matrix (1999)", "storyline": "A hacker."}, {"title": "Sabrina"}])
    result = prepared(archive, dataset("p.jsonl", {"year": None}))
    assert result.items["storyline"].to_list() == ["A hacker.", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Matrix, The (1999)", "The Matrix"),
        ("Avventura, L' (1960)", "L’Avventura"),
        ("Misérables, Les (1995)", "Les Miserables"),
        ("Hånd i hånd (1977)", "Hand i Hand"),
        ("8 1/2 (1963)", "8½"),
        ("Hänsel & Gretel (1987)", "Hansel and Gretel"),
        ("Cry, the Beloved Country (1995)", "Cry the beloved country"),
        ("Star Wars: Episode IV - A New Hope (1977)", "Star Wars Episode IV – A New Hope"),
        ("Die Unendliche Geschichte (1984)", "Unendliche Geschichte, Die"),
    ],
)
def test_one_film_in_two_hands(ours: str, theirs: str) -> None:
    assert film_of(ours).title == film_of(theirs).title == plain(theirs)


@pytest.mark.parametrize(
    ("title", "film"),
    [
        ("Seven (a.k.a. Se7en) (1995)", ("seven", ("se7en",), "1995")),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         ("thecityoflostchildren", ("lacitedesenfantsperdus",), "1995")),
        ("Land Before Time III (1995) (V)", ("landbeforetimeiii", (), "1995")),
        ("2001: A Space Odyssey (1968)", ("2001aspaceodyssey", (), "1968")),
        ("(500) Days of Summer (2009)", ("daysofsummer", ("500",), "2009")),
        ("unknown", ("unknown", (), "")),
    ],
)  # fmt: skip
def test_what_a_title_says(title: str, film: tuple[Any, ...]) -> None:
    assert film_of(title) == film


def test_films_that_differ_stay_apart() -> None:
    titles = ["Die Hard", "Hard", "A Kid", "The Kid", "Sabrina 2", "Sabrina"]
    assert len({plain(title) for title in titles}) == len(titles)


def test_a_file_without_the_column(archive: Path, prepared: Callable[..., Prepared]) -> None:
    write_jsonl(archive / "p.jsonl", [{"title": "The Matrix", "year": 1999, "plot": "A hacker."}])
    with pytest.raises(LamarError, match=r"p\.jsonl: no column 'storyline'; it has title, year, plot: set storylines"):
        prepared(archive, dataset("p.jsonl"))


def test_a_file_about_other_films(archive: Path, prepared: Callable[..., Prepared]) -> None:
    write_jsonl(archive / "p.jsonl", [{"title": "The Matrix", "year": 2003, "storyline": "Another."}])
    with pytest.raises(LamarError, match=r"p\.jsonl: has the storyline of none of 6 films; check storylines\.columns"):
        prepared(archive, dataset("p.jsonl"))


def test_a_broken_file(archive: Path, prepared: Callable[..., Prepared]) -> None:
    write_csv_gz(archive / "p.csv.gz", ROWS)
    (archive / "p.csv.gz").write_bytes((archive / "p.csv.gz").read_bytes()[:-12])
    with pytest.raises(LamarError, match=r"p\.csv\.gz: broken or cut short .*; delete it and fetch it again"):
        prepared(archive, dataset("p.csv.gz"))
    (archive / "p.txt").write_text("x")
    with pytest.raises(LamarError, match=r"p\.txt: unknown format; use \.csv, \.tsv, \.jsonl, \.parquet"):
        prepared(archive, dataset("p.txt"))


def test_the_file_comes_with_the_raw_files(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(tmp_path))
    own, raw = tmp_path / "own", tmp_path / "raw"
    chosen = dataset("p.jsonl", own=str(own)).model_dump(exclude_none=True)
    hashes = {"mirror": {"ml-1m.zip": "f" * 64}}
    with pytest.raises(LamarError, match="ml-1m.zip has sha256"):
        fetch_dataset("films", make_dataset(**chosen | {"sources": [SOURCE], "variants": hashes}), raw)
    hashes["mirror"]["ml-1m.zip"] = sha256_of(archive / "ml-1m.zip")
    films = make_dataset(**chosen | {"sources": [SOURCE], "variants": hashes})
    with pytest.raises(LamarError, match=r"p\.jsonl: No such file.*; or correct datasets\.films\.storylines in params"):
        fetch_dataset("films", films, raw)
    own.mkdir()
    for text in ("{}", '{"changed": 1}'):
        (own / "p.jsonl").write_text(text)
        assert fetch_dataset("films", films, raw) == "mirror"
        assert (raw / "p.jsonl").read_text() == text
        assert read_json(raw / "source.json")["files"]["p.jsonl"] == sha256_of(own / "p.jsonl")


SOURCE = {"mirror": "ml", "files": ["ml-1m.zip"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": ["title", "genre"]}, "storylines need reader: movielens, and storyline among the attributes"),
        ({"reader": "amazon"}, "storylines need reader: movielens, and storyline among the attributes"),
        ({"storylines": {"source": {"own": "a", "files": ["b", "c"]}}}, "storylines are in one file"),
    ],
)
def test_settings_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_dataset(**dataset("p.csv").model_dump(exclude_none=True) | changes)
