"""The stage `generate` as a process: interrupted, killed, on a full disk, started twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest
import yaml
from aiohttp import web
from llm_generators import SECRET
from llm_server import FAULTS, Server, failure
from stage_process import RESPONSES, STAGE, Place

from lamar.llm import journal

# Forks the stage for every line it reads: imports, which are slow, are made once.
FORKS = f"""
import os, runpy, sys
import openai.resources.chat.completions
from lamar import console
from lamar.llm import asking, openai as _
from lamar.signals import generate
sys.argv = {STAGE[1:]!r}
for line in sys.stdin:
    child = os.fork()
    if not child:
        runpy.run_path(sys.argv[0], run_name="__main__")
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Callable[..., Place]:
    def make(items: int, **changes: object) -> Place:
        return Place(tmp_path, server, items, **changes)

    return make


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_finishes_what_is_in_flight(server: Server, place, number: int, status: int) -> None:
    here = place(60, concurrency=4)
    server.latency = 0.5
    process = here.start()
    until(lambda: server.requests >= 6)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status
    assert here.answered() == server.requests == server.answered < 60
    assert "requests in flight; once more abandons them" in said
    kept = f"interrupted: {server.requests} of 60 answers came and are kept; run the same command to go on\n"
    assert said.endswith(kept)
    assert "Traceback" not in said
    assert not (here.folder / RESPONSES).exists()
    server.latency = 0
    assert here.run()[0] == 0
    assert here.responses() == here.answered() == server.requests == 60


def test_a_second_ctrl_c_abandons_what_is_in_flight(server: Server, place) -> None:
    here = place(20, concurrency=4)
    server.latency = 100
    process = here.start()
    until(lambda: server.requests == 4)
    process.send_signal(signal.SIGINT)
    assert "20 to ask" in process.stderr.readline()
    assert "finishing 4 requests in flight" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: 0 of 20 answers came and are kept" in said
    assert "Traceback" not in said


def test_a_batch_goes_on_when_the_waiting_is_interrupted(server: Server, place) -> None:
    here = place(5, mode="batch")
    server.looks.extend([FAULTS["503"]] * 100_000)
    process = here.start()
    until(lambda: server.calls["retrieve"] > 0)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "interrupted: what was sent goes on at the provider; run the same command to go on" in said
    server.looks.clear()
    assert here.run()[0] == 0
    assert here.responses() == 5
    assert server.calls["create"] == 1


@pytest.fixture
def forks(place) -> Iterator[Callable[[Place], subprocess.Popen[str]]]:
    started = []

    def start(here: Place) -> subprocess.Popen[str]:
        started.append(here.start(sys.executable, "-c", FORKS))
        return started[-1]

    yield start
    for process in started:
        process.communicate(timeout=120)


def test_kill_9_at_20_random_moments_loses_no_answer_and_asks_none_twice(server: Server, place, forks) -> None:
    """What is asked again is only what was in flight when the run was killed."""
    here = place(600, concurrency=8)
    server.latency = 0.02
    parent = forks(here)
    chance = random.Random(0)
    in_flight = 0
    for _ in range(20):
        asked, answered = server.requests, here.answered()
        parent.stdin.write("\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        until(lambda before=asked: server.requests > before)
        time.sleep(chance.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        assert parent.stdout.readline() == "ended\n"
        until(lambda: server.now == 0)
        time.sleep(0.05)  # what the dead process had sent arrives
        until(lambda: server.now == 0)
        known = journal.read(here.journal)
        lost = (server.requests - asked) - (len(known) - answered)
        assert 0 <= lost <= 8, "more were asked and not kept than can have been in flight"
        in_flight += lost
        assert answered < len(known) < 600 or lost > 0
    parent.stdin.write("\n")
    parent.stdin.flush()
    parent.stdout.readline()
    assert parent.stdout.readline() == "ended\n"
    assert here.responses() == here.answered() == 600
    assert server.requests == 600 + in_flight
    assert len(server.asked) == 600
    assert in_flight > 0, "the kills met nothing in flight"


def test_kill_9_at_every_step_of_a_batch_loses_no_answer_and_asks_none_twice(server: Server, place, forks) -> None:
    """While the questions are uploaded, the batch is created, looked at, and its answers are downloaded."""
    here = place(20, mode="batch")
    parent = forks(here)
    children: Queue[int] = Queue()

    def begin() -> None:
        parent.stdin.write("\n")
        parent.stdin.flush()
        children.put(int(parent.stdout.readline()))

    async def kill(_: web.Request, __: str) -> web.Response:
        os.kill(await asyncio.to_thread(children.get), signal.SIGKILL)
        return web.Response()

    for step in (server.outages["upload"], server.script, server.looks, server.outages["download"]):
        step.append(kill)
        begin()
        assert parent.stdout.readline() == "ended\n"
        assert not step, "it was killed at another step"
        assert here.answered() == 0
    begin()
    assert parent.stdout.readline() == "ended\n"
    assert here.answered() == here.responses() == 20
    assert set(server.asked.values()) == {1}
    assert server.calls["create"] == 1


def test_a_full_disk_stops_the_run_and_loses_no_answer(server: Server, place, small_disk: Path) -> None:
    here = place(600, concurrency=8)
    here.environment["LAMAR_JOURNAL"] = str(small_disk)
    status, said = here.run()
    assert status == 1
    assert said.splitlines()[-1] == (
        f"error: {here.journal}: cannot be written (No space left on device); free some disk space and run again"
    )
    assert here.answered() == server.answered == server.requests < 600
    status, said = here.run()
    assert status == 1, "not even the room for what will be in flight"
    assert here.answered() == server.answered
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert here.run()[0] == 0
    assert here.answered() == here.responses() == server.requests == 600


def test_a_second_process_is_told_that_another_is_asking(server: Server, place) -> None:
    here = place(1000, concurrency=4)
    server.latency = 1
    first = here.start()
    until(lambda: server.requests > 0)
    status, said = here.run()
    assert status == 1
    assert said.splitlines()[-1] == f"error: {here.journal}: another process is asking; wait for it or stop it"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 130
    assert set(server.asked.values()) == {1}
    assert server.requests == here.answered()


def commit_pipeline(here: Place) -> None:
    """Make the folder a repository whose pipeline is the stage."""
    outs = {"deps": ["data/prepared"], "params": ["generators"], "outs": [str(RESPONSES)]}
    (here.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"generate": {"cmd": " ".join(STAGE), **outs}}}))
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "params.yaml", "dvc.yaml", "data", ".dvc"],
        ["git", *author, "commit", "-q", "-m", "pipeline"],
    ):
        subprocess.run(command, cwd=here.folder, env=here.environment, check=True)


def test_a_temporary_experiment_that_fails_loses_no_answer(server: Server, place) -> None:
    """Its folder is thrown away; the journal lies elsewhere, and the next experiment asks what is missing."""
    here = place(30, budget_usd=0.0004)
    here.environment |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(here.folder / "site")}
    commit_pipeline(here)
    experiment = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-q"]
    first = here.start(*experiment)
    _, said = first.communicate(timeout=300)
    assert first.returncode != 0
    assert "does not pay for one more question" in said
    answered = here.answered()
    assert 0 < answered == server.requests < 30
    second = here.start(*experiment, "-S", "generators.gpt-4o-mini.budget_usd=1")
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert here.answered() == server.requests == 30
    assert not (here.folder / RESPONSES).exists(), "it was a temporary one"


def test_the_key_is_told_nowhere(server: Server, place) -> None:
    """In no file, on no stream; not even when the server repeats it and the SDK logs all it can."""
    here = place(30, concurrency=4)
    here.environment["OPENAI_LOG"] = "debug"
    told = [failure(status, f"{status} for <key>") for status in (500, 503, 429, 400)]
    server.script.extend(told)
    said = []
    here.run()
    server.always = failure(401, "wrong key <key>")
    shutil.rmtree(here.folder / "journal")
    (here.folder / RESPONSES).unlink()
    for mode in ("live", "batch"):
        here.change(mode=mode)
        server.looks.append(server.always)
        status, complaint = here.run()
        assert status == 1
        said.append(complaint)
        assert "***" in complaint
    assert SECRET not in "".join(said)
    files = [path for path in here.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_usage_and_responses_say_what_the_journal_says(server: Server, place) -> None:
    here = place(10)
    assert here.run()[0] == 0
    usage = json.loads((here.folder / "metrics/ml-100k/gpt-4o-mini/usage.json").read_text())
    assert (usage["requests"], usage["input_tokens"], usage["retries"]) == (10, 1000, 0)
    rows = [json.loads(line) for line in (here.folder / RESPONSES).read_text().splitlines()]
    assert {tuple(row) for row in rows} == {
        ("item_id", "attempts", "finish_reason", "input_tokens", "key", "model", "output_tokens", "seconds", "text")
    }
    before = (here.folder / RESPONSES).read_bytes(), usage
    del here.environment["OPENAI_API_KEY"]
    assert here.run()[0] == 0
    after = json.loads((here.folder / "metrics/ml-100k/gpt-4o-mini/usage.json").read_text())
    assert ((here.folder / RESPONSES).read_bytes(), after) == before
