"""A real Chromium without a window, driven through its own protocol."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp

WAIT = 120  # seconds; a busy machine starts a browser slowly


class Page:
    """One tab. `errors`: what it wrote to its console as an error, and exceptions that nobody caught."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket, self._number = loop, socket, 0
        self._events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for one method of the protocol and wait for its answer."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), WAIT))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        self._events.append(message)
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"]["exception"]["description"])
        elif kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.errors.append(json.dumps(told["args"]))

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        ends = time.monotonic() + WAIT
        while not self.run(condition):
            assert time.monotonic() < ends, condition
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Press a key, with its text when it is a character."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A page of a browser whose profile and downloads are in `folder`."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    browser = subprocess.Popen(
        [*command, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    loop = asyncio.new_event_loop()
    try:
        session, socket = loop.run_until_complete(_connect(_port(folder / "profile/DevToolsActivePort")))
        page = Page(loop, socket)
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield page
        loop.run_until_complete(session.close())
    finally:
        browser.terminate()
        browser.wait()
        loop.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the files of `folder` are served."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _port(file: Path) -> int:
    ends = time.monotonic() + WAIT
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < ends, "chromium did not start"
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = await answer.json()
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return session, await session.ws_connect(address, max_msg_size=0)


_COLOURS = """
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return parse("rgb(255, 255, 255)");
  };
  const contrast = (one, other) => {
    const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
"""

# The contrast of every text with the colour behind it (WCAG 2, 1.4.3): [ratio, text] where it is too low.
LOW_CONTRAST = """
(() => {
  COLOURS
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script")) continue;
    const style = getComputedStyle(node);
    const ratio = contrast(parse(style.color), behind(node));
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) low.push([ratio, walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return low;
})()
""".replace("COLOURS", _COLOURS)

# The same of what charts are drawn with (WCAG 2.1, 1.4.11), given selectors and the property that has the colour.
# [ratio, class] where it is below 3; a selector that finds nothing is given as [0, selector].
FAINT_MARKS = """
((marks) => {
  COLOURS
  const shown = (node, property) => {
    const style = getComputedStyle(node);
    const [colour, back] = [parse(style[property]), behind(node.parentElement)];
    const share = colour.a * Number(style.opacity);
    const mixed = (name) => share * colour[name] + (1 - share) * back[name];
    return contrast({ r: mixed("r"), g: mixed("g"), b: mixed("b") }, back);
  };
  return marks.flatMap(([selector, property]) => {
    const nodes = [...document.querySelectorAll(selector)];
    if (!nodes.length) return [[0, selector]];
    return nodes.map((node) => [shown(node, property), node.getAttribute("class")]).filter(([ratio]) => ratio < 3);
  });
})
""".replace("COLOURS", _COLOURS)
