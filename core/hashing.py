"""Password hashing is the longest work that strangers can ask for: it is bounded, and steps back behind all else.

A few threads of low priority hash for the whole process, whoever asks; hashing lets
go of the interpreter's lock meanwhile. Where others wait for a thread, it does not
wait for a hash: it gets :class:`NotHere`, and the work is begun anew elsewhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from core import crews

T = TypeVar("T")
THREADS = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class NotHere(Exception):
    """A password would have to be hashed where that must not be waited for. Nothing has been done."""


class _Here(threading.local):
    forbidden = False
    hashing = False


_here = _Here()


def run(action: Callable[[], T]) -> T:
    """What the action, which hashes, answers: done by the crew while this thread waits.

    Raises NotHere in a thread that does not wait.
    """
    if _here.hashing:
        return action()
    if _here.forbidden:
        raise NotHere
    return _crew().submit(_hash, action).result()


@contextmanager
def forbidden() -> Iterator[None]:
    """This thread waits for no hash."""
    _here.forbidden = True
    try:
        yield
    finally:
        _here.forbidden = False


def _hash(action: Callable[[], T]) -> T:
    _here.hashing = True
    return action()


@cache
def _crew() -> ThreadPoolExecutor:
    return crews.in_the_back(THREADS, "hashing")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crew.cache_clear)  # threads stay behind
