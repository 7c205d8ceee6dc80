"""Stages on a Ray cluster of two machines with a process each, of which one is lost on the way."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import runpy
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import yaml
from click.testing import CliRunner

from lamar.engine import ENGINES, here, in_order
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.llm import journal
from lamar.params import LocalGenerator
from lamar.signals import generate
from lamar.signals.prompt import load_prompt
from lamar.signals.proposal import Proposal, write_proposal

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow  # minutes where cores are few: a dozen Python processes load Ray and PyTorch

REPOSITORY = Path(__file__).parents[2]
WORDS = ("a", "saw", "drill", "cut", "x")  # that the tiny encoder knows


def ports() -> dict[str, int]:
    """Free ones for Ray's agents: where Ray chooses them, it gives a busy machine 15 seconds to say which."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    chosen = {name: opened.getsockname()[1] for name, opened in zip(names, sockets, strict=True)}
    for opened in sockets:
        opened.close()
    return chosen


class Machines:
    """A head that works, and a second machine that can be lost."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, **ports()}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second = self._cluster.add_node(num_cpus=1, **ports())
        self.address = self._cluster.address

    def lose_one(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)

    def end(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def machines(tiny_cache: Path) -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"OMP_NUM_THREADS": "1", "LAMAR_CACHE": tiny_cache, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            environment.setenv(name, str(value))
        environment.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # what is imported from here
        running = Machines()
        environment.setenv("RAY_ADDRESS", running.address)
        yield running
        running.end()


def slowed(load: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    work = load()

    def slowly(block: Any) -> Any:
        time.sleep(0.3)
        return work(block)

    return slowly


def processes() -> list[psutil.Process]:
    """The pool's, on both machines."""
    named = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"]]
    return [process for process in named if process.info["cmdline"][0].startswith("ray::MapWorker")]


def kill_a_process() -> None:
    """SIGKILL, as the kernel does when memory ends."""
    victim = processes()[0]
    os.kill(victim.pid, signal.SIGKILL)
    psutil.wait_procs([victim], timeout=30)
    assert not victim.is_running()


class Losing:
    """The engine `ray`, on blocks that take a while; something is lost when the first result has been taken."""

    def __init__(self, lose: Callable[[], None]) -> None:
        self.lose = lose
        self.results_after = 0

    def __call__(self, cut: Any, load: Any, gpu: bool = False) -> Iterator[tuple[int, Any]]:
        for place, result in enumerate(ENGINES_AS_THEY_ARE["ray"](cut, partial(slowed, load), gpu)):
            if place == 1:
                self.lose()
            self.results_after = place
            yield result


ENGINES_AS_THEY_ARE = dict(ENGINES)


class Place:
    """A folder in which stages run, in this process, on a params.yaml that differs in some settings."""

    def __init__(self, folder: Path, settings: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self._params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        for section, changes in settings.items():
            self._params[section] |= changes

    def run(self, engine: str, stage: str, *arguments: str) -> dict[str, bytes]:
        """What the stage writes, or changes, by the names of the files."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self._params | {"engine": engine}))
        before = self._files()
        done = CliRunner().invoke(runpy.run_path(str(REPOSITORY / f"stages/{stage}.py"))["main"], arguments)
        assert done.exit_code == 0, done.output
        written = {name: content for name, content in self._files().items() if before.get(name) != content}
        for name in written:
            (self.folder / name).unlink()
        return written

    def _files(self) -> dict[str, bytes]:
        files = [path for top in ("data", "metrics") for path in (self.folder / top).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Place]:
    monkeypatch.chdir(tmp_path)
    return lambda **settings: Place(tmp_path, settings)


@pytest.fixture
def losing(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Losing:
    """From here on `engine: ray` loses a process."""
    engine = Losing(kill_a_process)
    monkeypatch.setitem(ENGINES, "ray", engine)
    return engine


def amazon(folder: Path) -> None:
    """40 MB of reviews, which are five blocks, bad lines among them; half of the items are there twice."""
    folder.mkdir(parents=True)
    text = "long " * 4000
    reviews = [
        json.dumps({"reviewerID": f"u{n % 300}", "asin": f"i{n * 7 % 211}", "unixReviewTime": n, "reviewText": text})
        for n in range(2000)
    ]
    reviews[777] = "no JSON"
    reviews[1500] = json.dumps({"reviewerID": "u1", "reviewText": text})
    metadata = [
        json.dumps({"asin": f"i{n % 220}", "title": f"Item <b>{n}</b>", "brand": "B &amp; C", "description": text * 3})
        for n in range(330)
    ]
    for name, lines in (("Some_Things_5.json.gz", reviews), ("meta_Some_Things.json.gz", metadata)):
        (folder / name).write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), 1))
    names = ("Some_Things_5.json.gz", "meta_Some_Things.json.gz")
    write_json(folder / "source.json", {"variant": "test", "files": dict.fromkeys(names, "")})


def test_prepare_writes_the_same_files(place: Callable[..., Place], losing: Losing) -> None:
    shop = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["datasets"]["office"]
    made = place(datasets={"things": shop | {"attributes": ["title", "brand"]}}, matrix={"datasets": ["things"]})
    amazon(made.folder / "data/raw/things")
    expected = made.run("local", "prepare", "things")
    assert len(expected) == 4
    statistics = json.loads(expected["metrics/things/statistics.json"])
    assert statistics["dropped"]["items_duplicate"] == 110
    assert sum(statistics["malformed"].values()) == 2
    assert made.run("ray", "prepare", "things") == expected
    assert losing.results_after > 0


@pytest.fixture
def asking(place: Callable[..., Place], tiny_llm: LocalGenerator) -> Place:
    """40 items to ask the tiny LLM about, four at a time."""
    made = place(generators={"tiny": tiny_llm.model_dump(exclude_none=True)}, generate={"batch": 4})
    names = [" ".join(words) for words in itertools.product(("red", "blue", "steel", "glass", "old"), repeat=2)]
    titles = [*names, *(f"{name} drum" for name in names[:15])]
    table = pl.DataFrame({"item_id": [str(n) for n in range(40)], "title": titles, "genre": ["Drama"] * 40})
    (made.folder / "data/prepared/ml-100k").mkdir(parents=True)
    table.write_parquet(made.folder / "data/prepared/ml-100k/items.parquet")
    write_proposal(
        made.folder / "data/proposals/ml-100k/tiny.json", Proposal("pinned", "", load_prompt("movielens"), ())
    )
    return made


def test_generate_writes_the_same_answers_and_asks_nothing_twice(
    asking: Place, losing: Losing, tiny_llm: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = asking.run("local", "generate", "ml-100k", "tiny")
    assert len(expected["data/responses/ml-100k/tiny.jsonl"].splitlines()) == 40
    lines = generate.journal_path(tiny_llm).read_text().splitlines()
    monkeypatch.setenv("LAMAR_JOURNAL", str(asking.folder / "another"))
    assert asking.run("ray", "generate", "ml-100k", "tiny") == expected
    assert sorted(generate.journal_path(tiny_llm).read_text().splitlines()) == sorted(lines)
    assert losing.results_after == 9


def test_what_was_answered_before_an_interruption_is_kept(
    asking: Place, losing: Losing, tiny_llm: LocalGenerator
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    expected = asking.run("local", "generate", "ml-100k", "tiny")
    generate.journal_path(tiny_llm).unlink()
    losing.lose = interrupt
    with pytest.raises(AssertionError):
        asking.run("ray", "generate", "ml-100k", "tiny")
    kept = generate.journal_path(tiny_llm).read_bytes()
    assert kept.count(b"\n") == 4
    losing.lose = lambda: None
    assert asking.run("ray", "generate", "ml-100k", "tiny") == expected
    assert generate.journal_path(tiny_llm).read_bytes().startswith(kept)
    assert len(journal.read(generate.journal_path(tiny_llm))) == 40


def catalogue(folder: Path, encoder: Path) -> None:
    """600 items with a signal each: ten batches and more."""
    texts = [" ".join(words) for words in itertools.product(WORDS, repeat=4)][:600]
    (folder / "models/backbones").mkdir(parents=True)
    (folder / "models/backbones/minilm").symlink_to(encoder)
    for path, columns in {
        "data/prepared/ml-100k/items.parquet": {"title": texts, "genre": texts[::-1]},
        "data/signals/ml-100k/tiny.parquet": {"signal": texts[300:] + texts[:300], "kept": [True] * 600},
    }.items():
        (folder / path).parent.mkdir(parents=True)
        pl.DataFrame({"item_id": [str(n) for n in range(600)], **columns}).write_parquet(folder / path)
    sequences = folder / "data/sequences/ml-100k/unisrec-published-lamar"
    sequences.mkdir(parents=True)
    pl.DataFrame({"item": range(600), "title": texts}).write_parquet(sequences / "items.parquet")


def test_embeddings_and_encode_write_the_same_vectors(
    place: Callable[..., Place], losing: Losing, encoder: Path
) -> None:
    made = place()
    catalogue(made.folder, encoder)
    for stage in (("embeddings", "ml-100k", "tiny", "minilm"), ("encode", "ml-100k", "unisrec-published-lamar")):
        expected = made.run("local", *stage)
        assert any(name.endswith(".parquet") for name in expected)
        assert made.run("ray", *stage) == expected
    assert losing.results_after > 5


def test_what_goes_wrong_elsewhere_is_told_in_one_line(machines: Machines, tmp_path: Path) -> None:
    from lamar.data.amazon import read
    from lamar.signals.similarity import encode

    with pytest.raises(LamarError, match=r"nowhere/model\.safetensors: no such file; run dvc repro backbone"):
        encode(["a saw"], tmp_path / "nowhere", engine=ENGINES["ray"])
    for name in ("A_5.json.gz", "meta_A.json.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"{}\n" * 1000)[:-20])
    with pytest.raises(LamarError, match=r"A_5\.json\.gz: broken or cut short"):
        read(tmp_path, ["A_5.json.gz", "meta_A.json.gz"], ["title"], ENGINES["ray"])


def numbers() -> Iterator[int]:
    return iter(range(12))


def fatal() -> Callable[[int], int]:
    return lambda number: os.kill(os.getpid(), signal.SIGKILL)


def squares() -> Callable[[int], list[Any]]:
    return lambda number: [number, (number * number, f"{number}")]


def test_a_block_that_kills_every_process_ends_the_run(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamar.cluster.RETRIES", 1)  # 10 would take minutes: each is a process that starts
    with pytest.raises(LamarError, match="a block of work ended its process 2 times"):
        list(ENGINES["ray"](numbers, fatal))


def test_nothing_to_do_is_done(machines: Machines) -> None:
    assert list(ENGINES["ray"](list, squares)) == []


def test_the_work_of_a_lost_machine_is_done_by_the_others(machines: Machines) -> None:
    """The last test of this file: one machine is left."""
    losing = Losing(machines.lose_one)
    assert list(in_order(losing(numbers, squares))) == list(in_order(here(numbers, squares)))
    assert losing.results_after == 11
    assert len(processes()) <= 1
