"""Archives that were made to do harm: nothing lands outside its folder, and nothing unpacks without end."""

from __future__ import annotations

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from catalogues import make_dataset
from test_movielens import FILMS, MOVIELENS, TITLES

from lamar.data import downloads, jsonlines, movielens, table
from lamar.data.downloads import Unavailable, _extract
from lamar.data.raw import Tally
from lamar.data.sources import fetch_dataset
from lamar.errors import LamarError


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_members_that_climb_out_are_read_where_they_are(tmp_path: Path, prepared) -> None:
    """What is in an archive goes into tables, never to a path that the archive names."""
    films = ["|".join([item, TITLES[item], "", "", "", *["0"] * len(movielens.GENRES)]) for item, *_ in FILMS]
    ratings = [f"{user}\t{item}\t4\t{time}" for user in range(3) for time, (item, *_) in enumerate(FILMS)]
    members = {"../../u.item": "\n".join(films).encode(), "/tmp/u.data": "\n".join(ratings).encode()}
    folder = zipped(tmp_path / "a/b/raw/ml-100k.zip", members).parent
    before = everything_below(tmp_path)
    assert prepared(folder, MOVIELENS).items.height == len(FILMS)
    written = {name for name in everything_below(tmp_path) - before if not name.startswith("prepared/")}
    assert written == {"a/b/raw/source.json", "statistics.json"}


def test_a_member_of_a_wheel_cannot_choose_its_place(tmp_path: Path) -> None:
    wheel = zipped(tmp_path / "some-1.0.whl", {"../../../evil.bin": b"evil", "some/good.bin": b"good"})
    target = BytesIO()
    _extract(wheel, "*evil.bin", target)
    assert target.getvalue() == b"evil"
    assert everything_below(tmp_path) == {"some-1.0.whl"}


def test_files_that_climb_out_of_the_mirror_keep_their_basename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror/below").mkdir(parents=True)
    (tmp_path / "passwords").write_text("secret")
    source = {"mirror": "below", "files": ["../../passwords"]}
    dataset = make_dataset(sources=[source], variants={"known": {"passwords": "0" * 64}})
    with pytest.raises(LamarError, match="passwords has sha256"):
        fetch_dataset("shop", dataset, tmp_path / "data/raw/shop")
    assert everything_below(tmp_path / "data") == set()


def test_a_member_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 1000)
    wheel = zipped(tmp_path / "some-1.0.whl", {"bomb.bin": bytes(1001), "good.bin": bytes(1000)})
    target = BytesIO()
    with pytest.raises(Unavailable, match=r"some-1\.0\.whl: 'bomb\.bin' would unpack to 1,001 bytes, more than 1,000"):
        _extract(wheel, "bomb.bin", target)
    assert target.getvalue() == b""
    _extract(wheel, "good.bin", target)
    assert len(target.getvalue()) == 1000


def test_ratings_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens, "LARGEST", 1000)
    zipped(tmp_path / "ml-100k.zip", {"u.item": b"x", "u.data": bytes(1001)})
    with pytest.raises(LamarError, match=r"ml-100k\.zip: u\.data would unpack to 1,001 bytes, more than 1,000; take"):
        movielens.read(tmp_path, ["ml-100k.zip"], ["title"])


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    """A member of 5,000 bytes that says it has 10: zipfile reads 10 and finds that the checksum is wrong."""
    path = zipped(tmp_path / "ml-100k.zip", {"u.data": bytes(5000), "u.item": b"x"})
    content = path.read_bytes()
    path.write_bytes(content.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(LamarError, match=r"ml-100k\.zip: broken or cut short"):
        movielens.read(tmp_path, ["ml-100k.zip"], ["title"])


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "LONGEST", 1000)
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'{"good": 1}\n{"bomb": "' + b"x" * 5000 + b'"}\n{"good": 2}\n'))
    tally = Tally(str(path))
    assert [record for _, record in jsonlines.records(path, tally)] == [{"good": 1}, {"good": 2}]
    assert tally.reasons == {"not a JSON object": 6}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_of_an_own_table_without_end(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LONGEST", 1000)
    path = tmp_path / "items.csv.gz"

    def records(length: int) -> list[dict[str, str]]:
        path.write_bytes(gzip.compress(f"item,title\n1,{'x' * (length - 2)}{end}".encode()))
        return [record for _, record in table.records(path, Tally(str(path)))]

    assert records(999 - len(end)) == [{"item": "1", "title": "x" * (997 - len(end))}]
    if end:
        assert len(records(1000 - len(end))[0]["title"]) == 998 - len(end)
    with pytest.raises(LamarError, match=r"items\.csv\.gz:2: a line of more than 1,000 characters; shorten it or"):
        records(5000)
