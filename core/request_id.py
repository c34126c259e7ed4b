"""The id of the request under way, for answers, logs and events."""

from __future__ import annotations

import re
from contextvars import ContextVar
from random import getrandbits

_current: ContextVar[str | None] = ContextVar("request_id", default=None)
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._\-]{1,128}")


def start(sent: str | None) -> str:
    """Take the client's id if it is printable and short, else make one."""
    request_id = sent if sent and _ACCEPTABLE.fullmatch(sent) else _new()
    _current.set(request_id)
    return request_id


def _new() -> str:
    """Shaped as a UUID at a quarter of its price; an id is a name, not a secret."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def current() -> str:
    """The id of this request; one is made outside of requests."""
    return _current.get() or start(None)


def peek() -> str | None:
    """The id of this request, or None outside of requests."""
    return _current.get()
