"""The id of the request under way, for answers, logs and events."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("request_id", default=None)
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._\-]{1,128}")


def start(sent: str | None) -> str:
    """Take the client's id if it is printable and short, else make one."""
    request_id = sent if sent and _ACCEPTABLE.fullmatch(sent) else str(uuid.uuid4())
    _current.set(request_id)
    return request_id


def current() -> str:
    """The id of this request; one is made outside of requests."""
    return _current.get() or start(None)


def peek() -> str | None:
    """The id of this request, or None outside of requests."""
    return _current.get()
