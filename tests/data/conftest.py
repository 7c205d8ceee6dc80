"""Small raw files, and the real road from raw files to prepared tables."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from catalogues import Prepared

from lamar.data.prepare import prepare
from lamar.files import read_json, sha256_of, write_json
from lamar.params import Dataset, Prepare

REPOSITORY = Path(__file__).parents[2]
OPTIONS = {"seed": 0, "min_interactions": 3, "max_malformed": 0.01, "confirm_share": 0.5}


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare a folder of raw files: prepared(folder, dataset, option=...)."""

    def run(folder: Path, dataset: Dataset, **options: Any) -> Prepared:
        files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != "source.json"}
        write_json(folder / "source.json", {"variant": "test", "files": files})
        out, report = tmp_path / "prepared" / folder.name, tmp_path / "statistics.json"
        prepare(folder.name, dataset, Prepare(**(OPTIONS | options)), folder, out, report)
        frames = [pl.read_parquet(out / f"{name}.parquet") for name in ("items", "interactions", "split")]
        return Prepared(*frames, read_json(report), out)

    return run


@pytest.fixture
def amazon_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write reviews and metadata (dictionaries, or lines as they are) in the published form."""

    def write(reviews: list[Any], metadata: list[Any]) -> Path:
        folder = tmp_path / "raw" / "amazon"
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("Some_Things_5.json.gz", reviews), ("meta_Some_Things.json.gz", metadata)):
            lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
            (folder / name).write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))
        return folder

    return write


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a stage as DVC does, in `tmp_path`, on a params.yaml with the given datasets besides its own."""

    def run(
        name: str, dataset: str, datasets: dict[str, Any], env: dict[str, str] | None = None, **limits: Any
    ) -> subprocess.CompletedProcess[str]:
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params["matrix"]["datasets"] = list(datasets)
        params["datasets"] |= datasets
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        command = [sys.executable, REPOSITORY / "stages" / f"{name}.py", dataset]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, **limits)

    return run
