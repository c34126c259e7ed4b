"""Identifiers: short text that sorts by the time it was made."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_TIME_CHARS, _RANDOM_CHARS = 9, 11
_RANDOM_BITS = _RANDOM_CHARS * 5

_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]

_lock = threading.Lock()
_last_ms = 0
_last_random = 0
_last_time = ""


def _encode(number: int, width: int) -> str:
    pairs = []
    for _ in range(width // 2):
        pairs.append(_PAIRS[number & 1023])
        number >>= 10
    if width % 2:
        pairs.append(_ALPHABET[number & 31])
    pairs.reverse()
    return "".join(pairs)


def new_id() -> str:
    """A 20-character id: 9 characters of milliseconds, 11 of randomness.

    Ids made by one process are strictly increasing, also within a millisecond
    and when the clock steps back, so "newest first" never swaps two records.
    """
    global _last_ms, _last_random, _last_time
    with _lock:
        ms = time.time_ns() // 1_000_000
        if ms > _last_ms:
            _last_ms, _last_random = ms, secrets.randbits(_RANDOM_BITS - 1)
            _last_time = _encode(ms, _TIME_CHARS)
        else:
            _last_random += 1 + secrets.randbits(20)
        moment, random = _last_time, _last_random
    return moment + _encode(random, _RANDOM_CHARS)


def new_field_id() -> str:
    """The stable id of a field: ``f`` and ten random characters."""
    return "f" + _encode(secrets.randbits(50), 10)
