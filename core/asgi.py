"""Answers made without Django: what the front, the lane and the handler write to the wire."""

from __future__ import annotations

from asgiref.typing import ASGISendCallable

from core import errors, json

# Names in lower case, values in Latin-1, as ASGI has them.
Headers = list[tuple[bytes, bytes]]


def refusal(error: errors.DomainError) -> tuple[int, Headers, bytes]:
    """The one error body as (status, headers, content); ``X-Request-ID`` is added by the front."""
    content = json.dumps(errors.body(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    headers.extend((name.lower().encode("ascii"), value.encode("latin1")) for name, value in error.headers.items())
    return error.status, headers, content


async def send_answer(send: ASGISendCallable, status: int, headers: Headers, content: bytes) -> None:
    """Send an answer that is whole; ``headers`` becomes the server's."""
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": content, "more_body": False})
