"""A server on loopback that speaks OpenAI's and Gemini's protocols, counts what it is asked and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
READ, WRITTEN = 100, 20  # tokens that every answer is said to have taken
SLOW = 60.0  # seconds


def answer_to(question: str) -> str:
    return f"answer to {question}"


def completion(question: str, **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer_to(question)}
    usage = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "served", "choices": [choice]}
    return whole | {"usage": usage} | changes


def generated(question: str, reason: str = "STOP", **changes: Any) -> dict[str, Any]:
    """What Gemini answers."""
    candidate = {"content": {"role": "model", "parts": [{"text": answer_to(question)}]}, "finishReason": reason}
    used = {"promptTokenCount": READ, "candidatesTokenCount": WRITTEN, "totalTokenCount": READ + WRITTEN}
    return {"candidates": [candidate], "usageMetadata": used} | changes


def failure(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> Handler:
    """An error of the server's; `<key>` in the message is the key that it was given: some servers tell it."""

    async def respond(request: web.Request, _: str) -> web.Response:
        key = request.headers.get("Authorization", request.headers.get("x-goog-api-key", "")).removeprefix("Bearer ")
        error = {"message": message.replace("<key>", key), "code": code, "type": "test", "status": "TEST"}
        return web.json_response({"error": error}, status=status, headers=headers)

    return respond


def says(value: Any, content_type: str = "application/json") -> Handler:
    """The same text, or JSON, whatever is asked."""
    text = value if isinstance(value, str) else json.dumps(value)

    async def respond(_: web.Request, __: str) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return respond


async def slow(_: web.Request, question: str) -> web.Response:
    await asyncio.sleep(SLOW)
    return web.json_response(completion(question))


async def half_closed(request: web.Request, question: str) -> web.StreamResponse:
    """Half of the answer, then the connection is gone."""
    whole = json.dumps(completion(question)).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    request.transport.abort()
    return response


async def hung_up(request: web.Request, _: str) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


FAULTS: dict[str, Handler] = {
    "429": failure(429, "slow down"),
    "500": failure(500, "internal"),
    "503": failure(503, "overloaded"),
    "half-closed": half_closed,
    "hung up": hung_up,
    "malformed JSON": says('{"choices": ['),
    "no JSON": says("<html>gateway</html>", "text/html"),
    "empty body": says(""),
    "empty choices": says(completion("?", choices=[])),
    "null choices": says(completion("?", choices=None)),
    "an error in a 200": says({"error": {"message": "upstream failed"}}),
}


class Server:
    """Answers every question after `latency` seconds, unless a fault is next in `script` or `faults` names one for it.

    `asked` counts requests by question, `begun` lists the times they came at, `most` is the most there were at once.
    Of the Batch API, `calls` counts requests by what they do, `looks` are faults of the looks at a batch, `outages`
    those of the other calls. A batch ends as `batch_ends` says with the lines of `batch_errors` (by question) in its
    error file, and the completions of `batch_bodies` in place of the usual ones.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.script: deque[Handler] = deque()
        self.always: Handler | None = None
        self.faults: dict[str, deque[Handler]] = defaultdict(deque)
        self.asked: Counter[str] = Counter()
        self.begun: list[float] = []
        self.bodies: list[dict[str, Any]] = []
        self.answered = self.now = self.most = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.looks: deque[Handler] = deque()
        self.outages: dict[str, deque[Handler]] = defaultdict(deque)
        self.batch_errors: dict[str, dict[str, Any]] = {}
        self.batch_bodies: dict[str, Any] = {}
        self.batch_ends = "completed"

    @property
    def requests(self) -> int:
        return sum(self.asked.values())

    def __enter__(self) -> Server:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1beta/models/{model}:generateContent", self._generate)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._retrieve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.url = f"{self.origin}/v1"
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request, question: str, body: dict[str, Any]) -> web.StreamResponse:
        self.asked[question] += 1
        self.begun.append(self._loop.time())
        self.bodies.append(body)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if fault := self._fault(question):
                return await fault(request, question)
            await asyncio.sleep(self.latency)
            self.answered += 1
            answer = generated if "contents" in body else completion
            return web.json_response(answer(question))
        finally:
            self.now -= 1

    def _fault(self, question: str) -> Handler | None:
        if self.always:
            return self.always
        if self.faults[question]:
            return self.faults[question].popleft()
        return self.script.popleft() if self.script else None

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await self._answer(request, body["messages"][-1]["content"], body)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await self._answer(request, body["contents"][-1]["parts"][0]["text"], body)

    # The Batch API: looked at for the second time, a batch has ended.

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self.calls["upload"] += 1
        if self.outages["upload"]:
            return await self.outages["upload"].popleft()(request, "")
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        return web.json_response({"id": name, "object": "file", "purpose": "batch", "filename": "f", "bytes": 1})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        self.calls["download"] += 1
        if self.outages["download"]:
            return await self.outages["download"].popleft()(request, "")
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.StreamResponse:
        self.calls["create"] += 1
        body = await request.json()
        name = f"batch-{len(self.batches)}"
        fixed = {"id": name, "object": "batch", "created_at": 1, "completion_window": body["completion_window"]}
        self.batches[name] = fixed | {"endpoint": body["endpoint"], "input_file_id": body["input_file_id"]}
        self.batches[name] |= {"status": "validating"}
        if self.script:
            return await self.script.popleft()(request, "")
        return web.json_response(self.batches[name])

    async def _list(self, _: web.Request) -> web.Response:
        self.calls["list"] += 1
        listed = list(self.batches.values())
        return web.json_response({"object": "list", "data": listed, "has_more": False})

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        self.calls["retrieve"] += 1
        if self.looks:
            return await self.looks.popleft()(request, "")
        batch = self.batches[request.match_info["id"]]
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        elif batch["status"] == "in_progress":
            self._end(batch)
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.batch_ends
        if self.batch_ends == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "token_limit", "message": "Enqueued token limit"}]}
            return
        done, failed = [], []
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            question = line["body"]["messages"][-1]["content"]
            self.asked[question] += 1
            self.bodies.append(line["body"])
            result = {"id": "r", "custom_id": line["custom_id"], "error": None}
            if question in self.batch_errors:
                failed.append(result | self.batch_errors.pop(question))
            else:
                body = self.batch_bodies.get(question, completion(question))
                done.append(result | {"response": {"status_code": 200, "body": body}})
        for kind, lines in (("output_file_id", done), ("error_file_id", failed)):
            if lines:
                batch[kind] = f"file-{len(self.files)}"
                self.files[batch[kind]] = "".join(f"{json.dumps(line)}\n" for line in reversed(lines)).encode()
        batch["request_counts"] = {"total": len(done) + len(failed), "completed": len(done), "failed": len(failed)}
