"""Identifiers: short text that sorts by the time it was made."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_TIME_CHARS, _RANDOM_CHARS = 9, 11
_RANDOM_BITS = _RANDOM_CHARS * 5

_lock = threading.Lock()
_last_ms = 0
_last_random = 0


def _encode(number: int, width: int) -> str:
    chars = []
    for _ in range(width):
        chars.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(chars))


def new_id() -> str:
    """A 20-character id: 9 characters of milliseconds, 11 of randomness.

    Ids made by one process are strictly increasing, also within a millisecond
    and when the clock steps back, so "newest first" never swaps two records.
    """
    global _last_ms, _last_random
    with _lock:
        ms = time.time_ns() // 1_000_000
        if ms > _last_ms:
            _last_ms, _last_random = ms, secrets.randbits(_RANDOM_BITS - 1)
        else:
            _last_random += 1 + secrets.randbits(20)
        ms, random = _last_ms, _last_random
    return _encode(ms, _TIME_CHARS) + _encode(random, _RANDOM_CHARS)


def new_field_id() -> str:
    """The stable id of a field: ``f`` and ten random characters."""
    return "f" + _encode(secrets.randbits(50), 10)
