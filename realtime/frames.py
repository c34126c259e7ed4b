"""What subscribers are sent: one JSON object a frame, the same over SSE and WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core import clock, json

# No line ends of SSE, but of Python's ``splitlines``, by which many clients read: a text could forge a line of it.
_LINE_ENDS = {b"\xc2\x85": b"\\u0085", b"\xe2\x80\xa8": b"\\u2028", b"\xe2\x80\xa9": b"\\u2029"}


def _one_line(body: bytes) -> bytes:
    """The JSON with those signs escaped."""
    for sign, escaped in _LINE_ENDS.items():
        if sign in body:
            body = body.replace(sign, escaped)
    return body


class Frame:
    """``id`` is that of the event, or None where a frame is no part of the log; ``body`` is JSON."""

    __slots__ = ("_sse", "body", "id", "type")

    def __init__(
        self,
        kind: str,
        *,
        collection: str | None = None,
        record_id: str | None = None,
        data: Mapping[str, Any],
        timestamp: datetime | None = None,
        event_id: int | None = None,
        **more: Any,
    ) -> None:
        self.id, self.type = event_id, kind
        self.body = json.dumps(
            {
                "type": kind,
                "collection": collection,
                "record_id": record_id,
                "data": data,
                "timestamp": clock.isoformat(timestamp or clock.now()),
                **more,
            }
        )
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """As a server-sent event (WHATWG HTML, 9.2.6); the id is what the client comes back with."""
        if self._sse is None:
            head = b"" if self.id is None else b"id: %d\n" % self.id
            self._sse = b"%bevent: %b\ndata: %b\n\n" % (head, self.type.encode(), _one_line(self.body))
        return self._sse


def connected(client_id: str, position: int, collection: str | None) -> Frame:
    """The first frame: whoever comes back with its id misses nothing that happened since."""
    return Frame(
        "connected", collection=collection, data={"client_id": client_id}, event_id=position, client_id=client_id
    )


def reset(position: int, collection: str | None, reason: str) -> Frame:
    """There is a gap: what the client knows must be read again."""
    return Frame("reset", collection=collection, data={"reason": reason}, event_id=position)
