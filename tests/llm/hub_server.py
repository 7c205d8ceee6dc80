"""A model hub on loopback: one repository, as huggingface_hub asks for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "a" * 40


@contextmanager
def hub(repository: str, folder: Path) -> Iterator[str]:
    """Serve the files of `folder` as `repository`; yields the address, for HF_ENDPOINT."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith(f"/api/models/{repository}/tree/"):
                listed = [
                    {"type": "file", "path": n, "size": len(b), "oid": sha1(b).hexdigest()} for n, b in files.items()
                ]
                return self._send(json.dumps(listed).encode(), body)
            if path.startswith(f"/api/models/{repository}"):
                known = {"id": repository, "sha": REVISION, "siblings": [{"rfilename": name} for name in files]}
                return self._send(json.dumps(known).encode(), body)
            name = path.removeprefix(f"/{repository}/resolve/{REVISION}/")
            if name in files:
                return self._send(files[name], body, ETag=f'"{sha1(files[name]).hexdigest()}"')
            return self.send_error(404)

        def _send(self, content: bytes, body: bool, **headers: str) -> None:
            self.send_response(200)
            sent = {"Content-Length": str(len(content)), "X-Repo-Commit": REVISION, "Content-Type": "application/json"}
            for name, value in (sent | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
