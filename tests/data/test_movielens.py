from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogues import Prepared, make_dataset

from lamar.data.movielens import GENRES
from lamar.errors import LamarError

# item id, title and year as RecBole has them, genres
FILMS = [
    ("1", "Toy Story", "1995", ["Animation", "Children's", "Comedy"]),
    ("2", "Misérables, Les", "1995", ["Drama", "Musical"]),
    ("3", "Land Before Time III: The Time of the Great Giving (1995)", "V", ["Animation"]),
    ("10", "unkonwn", "unkonwn", ["unknown"]),
]
TITLES = {
    "1": "Toy Story (1995)",
    "2": "Misérables, Les (1995)",
    "3": "Land Before Time III: The Time of the Great Giving (1995) (V)",
    "10": "unknown",
}
RATINGS = [(user, film[0], 880000000 + (user + n) // 3) for user in range(1, 6) for n, film in enumerate(FILMS)]
MOVIELENS = make_dataset(reader="movielens", attributes=["title", "genre"], ties="shuffle")


def write_zip(path: Path, texts: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text.encode("latin-1"))
    return path.parent


def shuffled(ratings: list[tuple[int, str, int]], seed: int) -> list[tuple[int, str, int]]:
    return random.Random(seed).sample(ratings, len(ratings))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The archive as published: dates and links filled in, titles that end in a space, another order of ratings."""
    films = [
        "|".join([item, TITLES[item] + " ", "01-Jan-1995", "", "http://link", *("01"[g in names] for g in GENRES)])
        for item, _, _, names in FILMS
    ]
    ratings = [f"{user}\t{item}\t4\t{time}" for user, item, time in shuffled(RATINGS, 1)]
    texts = {"ml-100k/u.item": "\n".join(films) + "\n", "ml-100k/u.data": "\n".join(ratings) + "\n"}
    return write_zip(tmp_path / "official" / "ml-100k.zip", texts)


@pytest.fixture
def recbole(tmp_path: Path) -> Path:
    folder = tmp_path / "recbole"
    folder.mkdir()
    films = ["\t".join([item, title, year, " ".join(names)]) for item, title, year, names in FILMS]
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    (folder / "ml-100k.item").write_text("\n".join([header, *films]) + "\n", encoding="utf-8")
    ratings = [f"{user}\t{item}\t3\t{time}" for user, item, time in shuffled(RATINGS, 2)]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (folder / "ml-100k.inter").write_text("\n".join([header, *ratings]) + "\n")
    return folder


def test_every_variant_gives_the_same_tables(official: Path, recbole: Path, prepared: Callable[..., Prepared]) -> None:
    first, second = prepared(official, MOVIELENS), prepared(recbole, MOVIELENS)
    for name in ("items", "interactions", "split"):
        assert (first.folder / f"{name}.parquet").read_bytes() == (second.folder / f"{name}.parquet").read_bytes()
    assert first.items.rows() == [
        (0, "1", "Toy Story (1995)", "Animation, Children's, Comedy"),
        (1, "10", "unknown", "unknown"),
        (2, "2", "Misérables, Les (1995)", "Drama, Musical"),
        (3, "3", "Land Before Time III: The Time of the Great Giving (1995) (V)", "Animation"),
    ]
    assert first.interactions.height == 20


def test_the_archive_of_a_million(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    texts = {
        "ml-1m/movies.dat": "1::Toy Story (1995)::Animation|Comedy\n2::Café (1990)::Drama\n3::Heat (1995)::Crime\n",
        "ml-1m/ratings.dat": "7::1::5::30\n7::2::5::20\n7::3::5::10\n",
    }
    result = prepared(write_zip(tmp_path / "m" / "ml-1m.zip", texts), MOVIELENS)
    assert result.items["genre"].to_list() == ["Animation, Comedy", "Drama", "Crime"]
    assert result.items["title"][1] == "Café (1990)"
    assert result.interactions["item"].to_list() == [2, 1, 0]


def test_malformed_ratings_name_file_and_line(tmp_path: Path, prepared: Callable[..., Prepared]) -> None:
    ratings = [f"{user}\t{item}\t4\t{time}" for user, item, time in RATINGS]
    ratings[4], ratings[9] = "not a rating", "1\t1\t4\tyesterday"
    films = ["|".join([item, TITLES[item], "", "", "", *["0"] * len(GENRES)]) for item, *_ in FILMS]
    folder = write_zip(tmp_path / "bad" / "ml-100k.zip", {"u.item": "\n".join(films), "u.data": "\n".join(ratings)})
    with pytest.raises(LamarError, match=r"ml-100k\.zip:u\.data:5: not 4 fields; 2 of 20 lines are malformed"):
        prepared(folder, MOVIELENS)
    result = prepared(folder, MOVIELENS, max_malformed=0.1)
    assert result.statistics["malformed"] == {"not 4 fields": 1, "timestamp is not a number": 1}


def test_broken_archives(tmp_path: Path, official: Path, prepared: Callable[..., Prepared]) -> None:
    archive = official / "ml-100k.zip"
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(LamarError, match=r"ml-100k\.zip: broken or cut short .*; delete it and fetch it again"):
        prepared(official, MOVIELENS)
    with pytest.raises(LamarError, match=r"other\.zip: needs u\.item and u\.data inside"):
        prepared(write_zip(tmp_path / "o" / "other.zip", {"u.item": ""}), MOVIELENS)


def test_recbole_column_missing(recbole: Path, prepared: Callable[..., Prepared]) -> None:
    path = recbole / "ml-100k.inter"
    path.write_text(path.read_text().replace("timestamp:float", "time:float"))
    with pytest.raises(LamarError, match=r"ml-100k\.inter:1: no column timestamp; it has user_id, item_id, rating, t"):
        prepared(recbole, MOVIELENS)


def test_unknown_attribute(official: Path, prepared: Callable[..., Prepared]) -> None:
    with pytest.raises(LamarError, match=r"params.yaml: attributes \['brand'\] are not in MovieLens"):
        prepared(official, make_dataset(reader="movielens", attributes=["title", "brand"]))
