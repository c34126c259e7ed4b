"""A real browser, driven by the protocol of its developer tools."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 30


class Page:
    """One page of a browser that has been nowhere yet."""

    def __init__(self, tools: ClientConnection) -> None:
        self._tools, self._last = tools, 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        self._tools.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            told = json.loads(self._tools.recv(SECONDS))
            if told.get("id") == self._last:
                assert "error" not in told, told
                return told["result"]

    def run(self, script: str) -> Any:
        """What the script's last expression is, a promise's value included."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def wait(self, what: str | Callable[[], Any]) -> Any:
        """Until the script, or the call, says something true; what that is."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            found = self._try(what)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"{what} did not come true; the page is {self.run('location.href + document.body.innerText')}"
        )

    def _try(self, what: str | Callable[[], Any]) -> Any:
        try:
            return self.run(what) if isinstance(what, str) else what()
        except AssertionError:  # between two pages there is none
            return None


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """A page of a browser whose profile is in ``folder``."""
    assert BINARY is not None
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [BINARY, *arguments, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = folder / "DevToolsActivePort"
        deadline = time.monotonic() + SECONDS
        while not (told.exists() and told.read_text().count("\n")) and time.monotonic() < deadline:
            time.sleep(0.05)
        port = int(told.read_text().split()[0])
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
        url = next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")
        with connect(url, max_size=None) as tools:
            yield Page(tools)
    finally:
        process.kill()
        process.wait(30)
