"""Answers made without Django: what the front, the lane and the handler write to the wire."""

from __future__ import annotations

from asgiref.typing import ASGISendCallable

from core import error_pages, errors, json

# Names in lower case, values in Latin-1, as ASGI has them.
Headers = list[tuple[bytes, bytes]]


def refusal(error: errors.DomainError, *, html: bool = False) -> tuple[int, Headers, bytes]:
    """The one error body, or a page, as (status, headers, content); ``X-Request-ID`` is added by the front."""
    content = error_pages.page(error).encode() if html else json.dumps(errors.body(error))
    kind = b"text/html; charset=utf-8" if html else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(content))]
    headers.extend((name.lower().encode("ascii"), value.encode("latin1")) for name, value in error.headers.items())
    return error.status, headers, content


async def send_answer(send: ASGISendCallable, status: int, headers: Headers, content: bytes) -> None:
    """Send an answer that is whole."""
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": content, "more_body": False})
