"""Requests a second of the runner against the bare OpenAI SDK, on the same questions and server.

The server, a process of its own, answers every chat after 200 ms. The reference is what the SDK does with nothing
around it: a semaphore and asyncio.gather. The runner does all it does for a paid provider: journal, budget, limits,
progress. CPU seconds are of the asking process alone.

    python benchmarks/runner.py
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json
from lamar.llm import asking
from lamar.llm.journal import key_of
from lamar.llm.openai import request
from lamar.llm.provider import identity
from lamar.params import OpenaiGenerator
from lamar.signals.prompt import Messages, load_prompt

LATENCY = 0.2  # seconds
SERVER = f"""
import asyncio, json
from aiohttp import web

message = {{"role": "assistant", "content": "Lets maintenance crews hang several padlocks on one energy source."}}
usage = {{"prompt_tokens": 250, "completion_tokens": 20, "total_tokens": 270}}
choices = [{{"index": 0, "message": message, "finish_reason": "stop"}}]
body = {{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}}
answer = json.dumps(body).encode()

async def respond(request):
    await request.read()
    await asyncio.sleep({LATENCY})
    return web.Response(body=answer, content_type="application/json")

async def main():
    app = web.Application()
    app.router.add_post("/v1/chat/completions", respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def bare(generator: OpenaiGenerator, questions: Mapping[str, Messages]) -> None:
    """Ask all questions with the SDK alone."""
    from openai import AsyncOpenAI

    async def ask_all() -> None:
        allowed = asyncio.Semaphore(generator.concurrency)

        async def ask(messages: Messages) -> str | None:
            async with allowed:
                completion = await client.chat.completions.create(**request(generator, messages))
                return completion.choices[0].message.content

        async with AsyncOpenAI(base_url=generator.base_url, api_key="none", max_retries=0, timeout=60) as client:
            await asyncio.gather(*map(ask, questions.values()))

    asyncio.run(ask_all())


def ours(generator: OpenaiGenerator, questions: Mapping[str, Messages]) -> None:
    """Ask all questions as the stage `generate` does, with an empty journal."""
    with tempfile.TemporaryDirectory() as folder:
        asking.ask(questions, Path(folder, "journal.jsonl"), "benchmark", generator, params.load().generate)


def timed(ask: Callable[[], None]) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    ask()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - started, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def some_questions(generator: OpenaiGenerator, count: int) -> dict[str, Messages]:
    """Questions of real length."""
    prompt = load_prompt("movielens")
    chats = [prompt.messages({"title": f"Film {number} (1997)", "genre": "Drama, War"}) for number in range(count)]
    return {key_of(identity(generator), chat): chat for chat in chats}


@click.command()
@click.option("--requests", default=2000, show_default=True, help="In each of the rounds.")
@click.option("--concurrency", default=64, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="The SDK and ours take turns; the median counts.")
@user_errors
def main(requests: int, concurrency: int, rounds: int) -> None:
    """Write benchmarks/results/runner.json."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        entry = params.load().generators["gpt-4o-mini"].model_dump()
        unlimited = {"requests_per_minute": None, "tokens_per_minute": None, "budget_usd": 100, "key": None}
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        generator = OpenaiGenerator(**entry | unlimited | {"base_url": url, "concurrency": concurrency})
        questions = some_questions(generator, requests)
        ways = {"sdk": lambda: bare(generator, questions), "ours": lambda: ours(generator, questions)}
        bare(generator, some_questions(generator, concurrency))  # imports and first connections are nobody's
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, ask in ways.items():
                taken[name].append(timed(ask))
    finally:
        server.terminate()
    middle = {
        name: [sorted(column)[rounds // 2] for column in zip(*times, strict=True)] for name, times in taken.items()
    }
    rate = {name: requests / wall for name, (wall, _) in middle.items()}
    beyond = (middle["ours"][1] - middle["sdk"][1]) / requests * 1000
    result = {
        "requests": requests,
        "concurrency": concurrency,
        "latency_seconds": LATENCY,
        "requests_per_second": round(rate["ours"], 1),
        "sdk_requests_per_second": round(rate["sdk"], 1),
        "sdk_cpu_seconds_per_1000": round(middle["sdk"][1] / requests * 1000, 3),
        "cpu_seconds_per_1000_beyond_the_sdk": round(beyond, 3),
        "ratio": round(rate["ours"] / min(rate["sdk"], concurrency / LATENCY), 3),
    }
    write_json(Path("benchmarks/results/runner.json"), result)
    say(json.dumps(result))


if __name__ == "__main__":
    main()
