"""A web server on loopback that keeps what is put there, as a team's own would: the HTTP remote of the tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web


@contextmanager
def kept_in(folder: Path) -> Iterator[str]:
    """Serve PUT, HEAD and GET of the files in `folder`; yields the address."""

    async def put(request: web.Request) -> web.Response:
        path = folder / request.match_info["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await request.read())
        return web.Response(status=201)

    async def get(request: web.Request) -> web.StreamResponse:
        path = folder / request.match_info["name"]
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.put("/{name:.+}", put), web.get("/{name:.+}", get)])  # a GET route answers HEAD, too
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
