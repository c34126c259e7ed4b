"""One request to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote


class Answer(NamedTuple):
    """``headers`` as they were sent, names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes

    def header(self, name: str) -> str | None:
        """The values of a header joined by commas; None where it was not sent."""
        found = [value.decode("latin1") for sent, value in self.headers if sent == name.lower().encode()]
        return ", ".join(found) if found else None

    def json(self) -> Any:
        return json.loads(self.content)


def request(
    app: Any,
    method: str = "GET",
    path: str = "/",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    client: str = "127.0.0.1",
) -> Answer:
    """Run ``app`` in an event loop of its own for one request; ``path`` is as on the wire, query and all.

    The database connections are those of the threads that ``app`` works in: what they
    should see must be committed (``committed_db``).
    """
    return asyncio.run(call(app, method, path, headers, body, client=client))


async def call(
    app: Any,
    method: str = "GET",
    path: str = "/",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    client: str = "127.0.0.1",
    pieces: Sequence[bytes] = (),
) -> Answer:
    """As :func:`request`, within a loop that runs already. ``pieces``: a body that comes in several, of untold length."""
    raw_path, _, query = path.partition("?")
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    sent = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in pairs]
    if not any(name == b"host" for name, _ in sent):
        sent.insert(0, (b"host", b"localhost"))
    if body and not any(name == b"content-length" for name, _ in sent):
        sent.append((b"content-length", b"%d" % len(body)))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin1"),
        "query_string": query.encode("latin1"),
        "root_path": "",
        "headers": sent,
        "client": (client, 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    *first, last = pieces or [body]
    unread = [{"type": "http.request", "body": piece, "more_body": True} for piece in first]
    unread.append({"type": "http.request", "body": last, "more_body": False})
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if unread:
            return unread.pop(0)
        await asyncio.Event().wait()  # the client stays until it has its answer
        raise AssertionError("nothing comes after the body")

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start, *parts = messages
    return Answer(start["status"], list(start["headers"]), b"".join(part.get("body", b"") for part in parts))
