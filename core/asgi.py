"""Requests and answers without Django: what the front, the lane and the handler read from and write to the wire."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable

from core import csp, error_pages, errors, json

# Names in lower case, values in Latin-1, as ASGI has them.
Headers = list[tuple[bytes, bytes]]

CHUNK_SECONDS = 30  # a client must send the next piece of its body within this time


class ClientGone(Exception):
    """The client went away before its request was whole, or while it was being answered."""


def refusal(error: errors.DomainError, *, html: bool = False) -> tuple[int, Headers, bytes]:
    """The one error body, or a page, as (status, headers, content); ``X-Request-ID`` is added by the front."""
    headers: Headers
    if html:
        page = error_pages.page(error)
        content = page.encode()
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        headers.append((csp.HEADER.lower().encode(), csp.policy(page).encode()))
    else:
        content = json.dumps(errors.body(error))
        headers = [(b"content-type", b"application/json")]
    headers.append((b"content-length", b"%d" % len(content)))
    headers.extend((name.lower().encode("ascii"), value.encode("latin1")) for name, value in error.headers.items())
    return error.status, headers, content


async def send_answer(send: ASGISendCallable, status: int, headers: Headers, content: bytes) -> None:
    """Send an answer that is whole."""
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def refuse_socket(scope: Any, send: Any, error: errors.DomainError) -> None:
    """Answer the handshake of a WebSocket (``websocket.connect`` has been received) with the one error body.

    A server that can't is told to close with 4000 and the status.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 4000 + error.status})
        return
    status, headers, content = refusal(error)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": content, "more_body": False})


async def next_chunk(receive: ASGIReceiveCallable) -> dict[str, Any]:
    """The next piece of the request's body; ClientGone or BadRequest if it does not come."""
    try:
        async with asyncio.timeout(CHUNK_SECONDS):
            message = cast(dict[str, Any], await receive())
    except TimeoutError as fault:
        raise errors.BadRequest("The body of the request did not arrive in time.") from fault
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message
