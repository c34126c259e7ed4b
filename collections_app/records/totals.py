"""Exact totals, counted once for as long as nothing in the database changes.

A filtered count costs more than the page that it is about. SQLite tells for
next to nothing whether anything was written since: ``PRAGMA data_version``
moves with the commits of other connections, ``total_changes`` with our own.
Both belong to one connection, so each thread remembers its own totals. Inside
a transaction nothing is remembered: what it wrote may be rolled back.
PostgreSQL has no such number, and counts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from django.db import connection

from collections_app import dialects

MAX_TOTALS = 256


class _Known(threading.local):
    """What this thread's connection has counted in the present state of the database."""

    raw: Any = None
    state: tuple[int, int] | None = None

    def __init__(self) -> None:
        self.totals: dict[tuple[Any, ...], int] = {}


_known = _Known()


def count(sql: str, params: Sequence[Any]) -> int:
    """The number that this ``SELECT count(*)`` answers."""
    connection.ensure_connection()
    raw = connection.connection
    if connection.vendor != "sqlite" or raw.in_transaction:
        return _ask(sql, params)
    state = (raw.execute("PRAGMA data_version").fetchone()[0], raw.total_changes)
    if _known.raw is not raw or _known.state != state or len(_known.totals) >= MAX_TOTALS:
        _known.raw, _known.state = raw, state
        _known.totals.clear()
    # 1, 1.0 and True are equal as keys, but not to SQLite.
    key = (sql, *params, *map(type, params))
    total = _known.totals.get(key)
    if total is None:
        total = _known.totals[key] = _ask(sql, params)
    return total


def _ask(sql: str, params: Sequence[Any]) -> int:
    return int(dialects.current().execute(sql, params).fetchone()[0])
