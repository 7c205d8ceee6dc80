"""Generators that ask the server of llm_server.py, questions for them, and what the journal says to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_server import Server

from lamar.llm import asking, journal
from lamar.llm.journal import Answer, key_of
from lamar.llm.provider import identity
from lamar.params import AnyGenerator, GeminiGenerator, Generate, OpenaiGenerator

SECRET = "sk-do-not-tell-0123456789"
PRICE = {"input": 1.0, "output": 2.0, "batch_input": 0.5, "batch_output": 1.0, "as_of": "2026-11-01"}
COMMON = {"key": "TEST_API_KEY", "max_tokens": 64, "options": {"temperature": 0}, "price": PRICE, "budget_usd": 10}
SETTINGS = Generate(
    batch=4,
    timeout=60,
    attempts=4,
    backoff=0.01,
    longest_wait=30,
    failures=3,
    poll=0.01,
    batch_requests=1000,
)
JOURNAL = Path("journal.jsonl")


def openai_generator(server: Server, **changes: Any) -> OpenaiGenerator:
    own = {"provider": "openai", "model": "small", "base_url": server.url, "concurrency": 8}
    return OpenaiGenerator(**COMMON | own | changes)


def gemini_generator(server: Server, **changes: Any) -> GeminiGenerator:
    own = {"provider": "gemini", "model": "gemini-1.5-flash-002", "base_url": server.origin, "concurrency": 4}
    return GeminiGenerator(**COMMON | own | changes)


def chats(generator: AnyGenerator, count: int) -> dict[str, tuple[dict[str, str], ...]]:
    """Questions "q0", "q1", ... by key."""
    texts = [({"role": "user", "content": f"q{number}"},) for number in range(count)]
    return {key_of(identity(generator), messages): messages for messages in texts}


def ask(generator: AnyGenerator, count: int, **settings: Any) -> dict[str, Answer]:
    """Ask `count` questions; the answers by question."""
    asking.ask(chats(generator, count), JOURNAL, "gen", generator, SETTINGS.model_copy(update=settings))
    return kept(generator, count)


def kept(generator: AnyGenerator, count: int) -> dict[str, Answer]:
    """The answers that the journal has to the first `count` questions, by question."""
    known = journal.read(JOURNAL)
    return {asked[-1]["content"]: known[key] for key, asked in chats(generator, count).items() if key in known}
