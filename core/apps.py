from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.apps import AppConfig
from django.core.signals import request_started
from django.db.backends.signals import connection_created

_open: set[weakref.ref[Any]] = set()
_lock = threading.Lock()


class CoreConfig(AppConfig):
    """Helpers that import no other app."""

    name = "core"

    def ready(self) -> None:
        from core import consistency, database, metrics
        from core.consistency import engine, models

        request_started.connect(database.fresh, dispatch_uid="core.fresh_connections")
        connection_created.connect(_watch, dispatch_uid="core.connections")
        consistency.register("tables", models.check)
        consistency.register("database", engine.check)
        metrics.gauge("database_connections", "Connections to the database that are open.", _connections)


def _watch(sender: Any, connection: Any, **kwargs: Any) -> None:
    """Count the connection, and tell of slow queries that Django's models make on it."""
    with _lock:
        _open.add(weakref.ref(connection, _open.discard))
    if _tell_slow not in connection.execute_wrappers:
        connection.execute_wrappers.append(_tell_slow)


def _connections() -> float:
    with _lock:
        there = [one() for one in _open]
    return sum(one is not None and one.connection is not None for one in there)


def _tell_slow(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    from django.conf import settings

    from core import database

    started = monotonic()
    try:
        return execute(sql, params, many, context)
    finally:
        if monotonic() - started > settings.SLOW_QUERY_MS / 1000:
            database.tell_slow(str(sql), monotonic() - started)
