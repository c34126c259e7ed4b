"""JSON in and out: one reader with limits, one writer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from django.utils.functional import Promise

from core.errors import BadRequest

MAX_DEPTH = 64
MAX_NESTS = 200_000  # each takes its time, and nobody else gets any of it
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


def loads(raw: bytes, max_nests: int = MAX_NESTS) -> Any:
    """Parse a client's JSON.

    Raises BadRequest for anything unreadable: not UTF-8, NaN and Infinity, lone
    surrogates, NUL in a text (PostgreSQL cannot store it), nesting beyond
    :data:`MAX_DEPTH`, more than ``max_nests`` lists and objects.
    """
    # Byte searches settle nearly every request; only a suspect is walked.
    nests = raw.count(b"[") + raw.count(b"{")
    if nests > max_nests:
        raise BadRequest(f"Unreadable JSON: more than {max_nests:,} lists and objects")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise BadRequest(f"Unreadable JSON: {fault}") from fault
    if nests > MAX_DEPTH or b"\\u0000" in raw:
        _check(value)
    return value


def dumps(value: Any) -> bytes:
    """Compact UTF-8; date-times in UTC with ``Z``, decimals as text."""
    return orjson.dumps(value, default=_default, option=_OPTIONS)


def _default(value: Any) -> Any:
    if isinstance(value, (Decimal, Promise)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _check(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str) and "\x00" in item:
                raise BadRequest("Unreadable JSON: a text contains the NUL character")
        if not inner:
            return
        level = inner
    raise BadRequest(f"Unreadable JSON: nested more than {MAX_DEPTH} levels deep")
