"""Memory and time of the stage `prepare` on raw files that are made up in the published form, at growing sizes.

Every user and item id, time and text comes from a seed. A review has the fields, and about the compressed size, of
those in Amazon's 5-core files; the metadata lists twice the reviewed items, as the real ones list more than was
reviewed. The stage runs as DVC runs it, in a process of its own; the kernel says what it used.

    python benchmarks/prepare.py                                  # seconds, 0.2 GB of disk
    python benchmarks/prepare.py --gigabytes 5 --folder /scratch  # one size; name a folder with room for it
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from lamar.console import progress, say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json

REPOSITORY = Path(__file__).parents[1]
NAME = "made-up"
REVIEW_BYTES = 240  # of a compressed review below; Amazon's 5-core Books: 27 million reviews in 6.5 GB
USER_REVIEWS, ITEM_REVIEWS = 10, 40  # on average; Books: 15 and 39
TEXTS = 4096  # different texts, drawn again and again
LINES = 10_000  # written at once
ENTRY = {
    "reader": "amazon",
    "attributes": ["title", "brand", "category"],
    "prompt": "scientific",
    "ties": "file",
    "sample_users": 1.0,
    "sources": [{"mirror": NAME, "files": ["any"]}],
}


def write_raw(folder: Path, gigabytes: float, seed: int = 0) -> dict[str, int]:
    """Write a category's two files and source.json. Returns how many reviews and items, and the bytes of the files."""
    reviews = int(gigabytes * 1e9 / REVIEW_BYTES)
    items = max(reviews // ITEM_REVIEWS, 10)
    files = {"Made_Up_5.json.gz": _reviews(reviews, items, seed), "meta_Made_Up.json.gz": _metadata(2 * items, seed)}
    for name, lines in files.items():
        _write_lines(folder / name, lines)
    write_json(folder / "source.json", {"variant": NAME, "files": dict.fromkeys(files, "")})
    sizes = {name: (folder / name).stat().st_size for name in files}
    return {"reviews": reviews, "items": items, "review_file_bytes": sizes["Made_Up_5.json.gz"]}


def _reviews(count: int, items: int, seed: int) -> Iterator[str]:
    """Lines of reviews: users at random, few items with many reviews and many with few, days in no order."""
    chance = random.Random(seed)
    texts = _texts(chance, words=45)
    users = max(count // USER_REVIEWS, 10)
    for _ in range(count):
        user, item = int(chance.random() * users), int(chance.random() ** 2 * items)
        day = int(chance.random() * 5000)
        yield (
            f'{{"overall": 5.0, "verified": true, "reviewTime": "07 4, 2014", "reviewerID": "{_user_id(user)}", '
            f'"asin": "{_item_id(item)}", "style": {{"Format:": " Hardcover"}}, "reviewerName": "U. {user}", '
            f'"reviewText": "{texts[chance.getrandbits(12)]}", "summary": "{texts[chance.getrandbits(12)][:40]}", '
            f'"unixReviewTime": {day * 86400}}}\n'
        )


def _metadata(count: int, seed: int) -> Iterator[str]:
    """Lines of metadata: every second item was never reviewed."""
    chance = random.Random(seed + 1)
    texts = _texts(chance, words=80)
    for number in range(count):
        item = number // 2 if number % 2 else -number - 1
        text = texts[chance.getrandbits(12)]
        yield (
            f'{{"category": ["Made Up", "Things", "{text[:20]}"], "description": ["{text}"], "title": "Thing {number} '
            f'{text[20:70]}", "also_buy": ["{_item_id(number)}"], "brand": "{text[:9]}", "asin": "{_item_id(item)}"}}\n'
        )


def _user_id(number: int) -> str:
    """14 characters, like Amazon's; the order of ids is not that of numbers."""
    return f"A{number * 0x9E3779B97F4A7 % (1 << 52):013X}"


def _item_id(number: int) -> str:
    return f"B{number * 0x9E3779B1 % (1 << 36):09X}"


def _texts(chance: random.Random, words: int) -> list[str]:
    vocabulary = ["".join(chance.choices("abcdefghilmnoprstu", k=chance.randint(2, 9))) for _ in range(5000)]
    return [" ".join(chance.choices(vocabulary, k=chance.randint(words // 3, 2 * words))) for _ in range(TEXTS)]


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # no name and no time in the header: the same bytes every time
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
        while block := "".join(line for line, _ in zip(lines, range(LINES), strict=False)):
            file.write(block.encode())


def run_stage(root: Path) -> dict[str, float]:
    """Run the stage in `root`; wall-clock and CPU seconds, and the most memory (MB) that it held.

    Raises LamarError with what the stage said when it fails.
    """
    command = [sys.executable, str(REPOSITORY / "stages/prepare.py"), NAME]
    log = root / "log.txt"
    started = time.perf_counter()
    with log.open("w") as said:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise LamarError(f"{command[1]}: {log.read_text().strip()}")
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def measured(gigabytes: float, folder: Path | None) -> dict[str, Any]:
    """What the stage uses for raw reviews of `gigabytes` (compressed, on disk)."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="lamar-prepare-") as name:
        root = Path(name)
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params["datasets"][NAME] = ENTRY
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        made = write_raw(root / "data/raw" / NAME, gigabytes)
        return {"gigabytes": round(made["review_file_bytes"] / 1e9, 3), **made, **run_stage(root)}


@click.command()
@click.option("--gigabytes", multiple=True, type=float, default=(0.05, 0.1, 0.2), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where the files lie meanwhile.")
@user_errors
def main(gigabytes: tuple[float, ...], folder: Path | None) -> None:
    """Write benchmarks/results/prepare-<largest>gb.json."""
    rows = []
    with progress() as bar:
        task = bar.add_task("prepare", total=len(gigabytes), note="")
        for size in sorted(gigabytes):
            bar.update(task, note=f"{size} GB")
            rows.append(measured(size, folder))
            say(json.dumps(rows[-1]))
            bar.advance(task)
    per_gigabyte = [row["cpu_seconds"] / row["gigabytes"] for row in rows]
    result = {
        "sizes": rows,
        "cpu_seconds_per_gigabyte": [round(seconds, 1) for seconds in per_gigabyte],
        "ratio": round(per_gigabyte[-1] / per_gigabyte[0], 3),  # of the largest to the smallest; 1: linear
    }
    write_json(Path(f"benchmarks/results/prepare-{max(gigabytes):g}gb.json"), result)
    say(json.dumps(result))


if __name__ == "__main__":
    main()
