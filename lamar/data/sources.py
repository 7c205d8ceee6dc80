"""Getting the files of a dataset or a model: sources are tried in order, and sha256 decides what came."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lamar.console import say
from lamar.data.downloads import Unavailable, get
from lamar.errors import LamarError
from lamar.files import sha256_of, unwritable, write_json, written_whole
from lamar.params import Dataset, Source

Hashes = dict[str, str]  # file name -> sha256
T = TypeVar("T")
OWN = "own"  # the variant of a user's own tables


def fetch_dataset(name: str, dataset: Dataset, folder: Path) -> str:
    """Bring the raw files of a dataset to `folder` and write source.json {variant, files} beside them.

    Returns the variant. Raises LamarError when no source gives known files.
    """
    if dataset.reader == "table":
        variant, hashes = OWN, _copy_own(name, dataset, folder)
    elif present := _present_variant(dataset.variants, folder):
        say(f"{name}: the files of variant {present} are already in {folder}")
        variant, hashes = present, dataset.variants[present]
    else:
        variant, hashes = _first_that_gives(
            dataset.sources, folder, lambda source, got: (_identify(name, got, dataset.variants, source), got)
        )
        say(f"{name}: variant {variant}")
    if dataset.storylines:
        hashes = hashes | _fetch_storylines(name, dataset.storylines.source, folder)
    write_json(folder / "source.json", {"variant": variant, "files": dict(sorted(hashes.items()))})
    return variant


def _fetch_storylines(name: str, source: Source, folder: Path) -> Hashes:
    """Bring the user's file, whatever it holds: its sha256 is written down, not compared."""
    try:
        return _first_that_gives([source], folder, lambda _, got: got)
    except LamarError as problem:
        raise LamarError(f"{problem}; or correct datasets.{name}.storylines in params.yaml") from None


def fetch_files(sources: list[Source], folder: Path, sha256: Hashes) -> Hashes:
    """Bring the files that `sources` list to `folder`, whole and checked; those in `sha256` must have that hash.

    Files that are already there are kept when their hash is right. Returns the sha256 of every file. Raises
    LamarError when no source gives them.
    """
    names = [Path(file).name for file in sources[0].files]
    if all((folder / name).is_file() for name in names):
        hashes = {name: sha256_of(folder / name) for name in names}
        if _wrong(hashes, sha256) is None:
            return hashes

    def accept(source: Source, hashes: Hashes) -> Hashes:
        if wrong := _wrong(hashes, sha256):
            raise Unavailable(f"{wrong} has sha256 {hashes[wrong]}, not {sha256[wrong]}")
        return hashes

    return _first_that_gives(sources, folder, accept)


def _wrong(hashes: Hashes, sha256: Hashes) -> str | None:
    """The first file that has another hash than it must have."""
    return next((name for name, hash_ in hashes.items() if sha256.get(name, hash_) != hash_), None)


def _first_that_gives(sources: list[Source], folder: Path, accept: Callable[[Source, Hashes], T]) -> T:
    """Move the files of the first source that `accept` does not refuse to `folder`; returns what `accept` returned."""
    failures = []
    for source in sources:
        with _staging(folder) as staging:
            say(f"{folder}: trying {_named(source)}")
            try:
                get(source, staging)
                result = accept(source, {path.name: sha256_of(path) for path in sorted(staging.iterdir())})
            except Unavailable as problem:
                say(f"  failed: {problem}")
                failures.append(str(problem))
                continue
            _move(staging, folder)
            return result
    raise LamarError(
        f"{folder}: no source gave the files; set LAMAR_MIRROR to a folder or web address that has them "
        f"({'; '.join(failures)})"
    )


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `folder`, gone afterwards."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        for path in staging.iterdir():
            path.replace(folder / path.name)
    except OSError as error:
        raise unwritable(folder, error) from None


def _named(source: Source) -> str:
    """A source as a person would say it."""
    kinds = {"url": source.url, "hub": source.hub, "wheel": source.wheel, "wheels": source.wheels}
    kinds["folder"] = source.own
    return next((f"{kind} {value}" for kind, value in kinds.items() if value), f"LAMAR_MIRROR/{source.mirror}")


def _present_variant(variants: dict[str, Hashes], folder: Path) -> str | None:
    """The variant whose files, every hash known, are in `folder`."""
    for variant, hashes in variants.items():
        there = all((folder / name).is_file() for name in hashes)
        if there and all(sha256_of(folder / name) == known for name, known in hashes.items()):
            return variant
    return None


def _identify(name: str, got: Hashes, variants: dict[str, Hashes], source: Source) -> str:
    """The variant whose files were got. An empty sha256 fits any file that came from the web address itself."""
    for variant, known in variants.items():
        if known == got:
            return variant
    for variant, known in variants.items():
        unseen = known.keys() == got.keys() and all(known[file] in ("", got[file]) for file in got)
        if source.url and unseen:
            say(f"  WARNING: {variant} was never seen before, so it is unchecked: {_pairs(got)}")
            return variant
    known_pairs = {(file, hash_) for known in variants.values() for file, hash_ in known.items()}
    file = next((file for file in got if (file, got[file]) not in known_pairs), next(iter(got)))
    hashes = "; ".join(
        f"{variant} {known[file] or 'never seen'}" for variant, known in variants.items() if file in known
    )
    raise Unavailable(
        f"{file} has sha256 {got[file]}, known are: {hashes or 'none'}; if you trust the file, "
        f"add it to datasets.{name}.variants in params.yaml"
    )


def _pairs(hashes: Hashes) -> str:
    return ", ".join(f"{file} {hash_}" for file, hash_ in hashes.items())


def _copy_own(name: str, dataset: Dataset, folder: Path) -> Hashes:
    """Copy the user's two tables to `folder`."""
    hashes = {}
    for key, file in (("items", dataset.items), ("interactions", dataset.interactions)):
        path = Path(str(file)).expanduser()
        if not path.is_file():
            raise LamarError(f"{path}: no such file; correct datasets.{name}.{key} in params.yaml")
        with written_whole(folder / path.name) as unfinished:
            shutil.copyfile(path, unfinished)
        hashes[path.name] = sha256_of(folder / path.name)
    return hashes
