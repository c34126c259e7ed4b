"""The ASGI doors of this app, for the composition root to hang in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from django.urls import URLPattern, re_path

from realtime import attendance, hub, relay, talk
from realtime.socket import socket
from realtime.sse import stream

Application = Callable[[Any, Any, Any], Awaitable[None]]

# What WebSockets open, for Channels' URLRouter: paths without the leading slash; the first that fits.
sockets: list[URLPattern] = [
    re_path(r"^api/v1/ws/realtime/?$", socket),
    re_path(r"^ws/chat/(?P<room_id>[^/]+)/?$", talk.guest),
    re_path(r"^ws/(?P<client_id>[^/]+)/?$", talk.client),
]

_STREAM = re.compile(r"/api/v1/realtime(?:/(?P<collection>[^/]+))?/?")


def streams(app: Application) -> Application:
    """GET of a stream is answered here; all else is for ``app``, also what other methods are told."""

    async def door(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        found = _STREAM.fullmatch(path) if path.startswith("/api/v1/realtime") and scope["method"] == "GET" else None
        if found is None:
            await app(scope, receive, send)
        else:
            scope["url_route"] = {"args": (), "kwargs": found.groupdict()}
            await stream(scope, receive, send)

    return door


def end_streams() -> None:
    """The server is about to end: have every client go, and come back to another one."""
    if hub.known is not None and hub.known.loop is asyncio.get_running_loop():
        hub.known.end_all()


async def close() -> None:
    """Let go of the log, of the threads and of Redis, which learns that nobody is here any more."""
    for part in (attendance.known, relay.known, hub.known):
        if part is not None and part.loop is asyncio.get_running_loop():
            await part.close()
