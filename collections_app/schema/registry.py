"""Keeps this process's snapshot current.

The schema epoch is one row that every schema change moves in its own
transaction. A request reads it once (one indexed read); if it moved, the
snapshot is rebuilt, reusing the definitions whose revision is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import connection

from collections_app import dialects
from collections_app.models import Collection
from collections_app.schema import reading
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import ServiceUnavailable

T = TypeVar("T")
_ATTEMPTS = 4
_TIME_LINE = 1_000_000  # epochs: a restore goes on with the next million
_lock = threading.Lock()
_latest: Snapshot | None = None
_pinned: ContextVar[Snapshot | None] = ContextVar("schema_snapshot", default=None)


# The schema epoch, for those who ask it together with something else.
VERSION_SQL = "SELECT version FROM schema_epoch WHERE id = 1"


class NotLoaded(Exception):
    """A reading session on a budget has no time to load the schema: call :func:`latest` elsewhere, and come back."""


class SchemaMoved(Exception):
    """The schema changed under a write that had not begun; do it again on the new one."""


def read_version() -> int:
    """The schema epoch as committed (or as this transaction sees it)."""
    found = dialects.current().rows(VERSION_SQL, keyed=True)
    return int(found[0][0]) if found else 0


def next_time_line(version: int) -> int:
    """The epoch that a restored schema begins with, where ``version`` is the highest that anybody knows."""
    return (version // _TIME_LINE + 1) * _TIME_LINE


def read_definition(row: Mapping[str, Any]) -> CollectionDef:
    """A stored row of ``collections`` as a definition."""
    return reading.read(row, collection_id=row["id"], resolve_target=lambda target: target, system=row["system"])


def load(reuse: Snapshot | None = None) -> Snapshot:
    """Read all definitions; those of ``reuse`` with an unchanged revision are taken over.

    Not over a restore: a revision that was given before it can be given to another definition after it.
    """
    while True:
        version = read_version()
        known = reuse.by_id if reuse and reuse.version // _TIME_LINE == version // _TIME_LINE else {}
        collections = []
        for row in Collection.objects.order_by("name").values():
            old = known.get(row["id"])
            collections.append(old if old and old.revision == row["revision"] else read_definition(row))
        if connection.in_atomic_block or read_version() == version:
            return Snapshot(version, collections)


def latest() -> Snapshot:
    """The snapshot of the schema as committed now."""
    global _latest
    version = read_version()
    snapshot = _latest
    if snapshot is not None and snapshot.version == version:
        return snapshot
    with _lock:
        if _latest is None or _latest.version != version:
            _latest = load(_latest)
        return _latest


def forget() -> None:
    """Drop the process's snapshot, as after another database was put in place."""
    global _latest
    _latest = None


def current() -> Snapshot:
    """The snapshot pinned for the request under way, else the latest."""
    return _pinned.get() or latest()


@contextmanager
def pinned(snapshot: Snapshot) -> Iterator[Snapshot]:
    """All code within sees this snapshot as the current one."""
    token = _pinned.set(snapshot)
    try:
        yield snapshot
    finally:
        _pinned.reset(token)


def with_schema(unit: Callable[[Snapshot], T], *, reads: bool = False) -> T:
    """Run a request's unit of work on one snapshot; again on the next if the schema moved under it.

    Only whole units are repeated, never a part of a transaction. A unit that only
    ``reads`` does so in one reading session. A unit that writes is begun on the
    snapshot that is known, and sees in its transaction whether that still holds
    (SchemaMoved). Raises ServiceUnavailable when the schema keeps moving.
    """
    return _read(unit) if reads else _write(unit)


def _read(unit: Callable[[Snapshot], T]) -> T:
    """What the unit answers or raises counts if it was about the schema of the data that it read.

    Where nothing holds still for the session, the schema must not have moved until
    its end: after a swap of two names, a hidden field's column has a public one's name.
    """
    with database.reading() as session:
        for _ in range(_ATTEMPTS):
            snapshot = _latest
            if snapshot is None or (session.settled and snapshot.version != version_in(session)):
                if session.budget is not None:
                    raise NotLoaded
                with session.suspended():
                    latest()
                continue
            token = _pinned.set(snapshot)
            try:
                found = unit(snapshot)
                if session.settled or read_version() == snapshot.version:
                    return found
            except Exception:
                if session.settled or read_version() == snapshot.version:
                    raise
            finally:
                _pinned.reset(token)
            with session.suspended():
                latest()
    raise _moving()


def version_in(session: database.Session) -> int:
    """The schema epoch of the state that the session reads."""
    version: int | None = session.memo.get("schema version")
    if version is None:
        version = session.memo["schema version"] = read_version()
    return version


def _write(unit: Callable[[Snapshot], T]) -> T:
    for _ in range(_ATTEMPTS):
        snapshot = _latest or latest()
        with pinned(snapshot):
            try:
                return unit(snapshot)
            except SchemaMoved:
                pass
            except Exception:
                if connection.in_atomic_block or read_version() == snapshot.version:
                    raise
        latest()
    raise _moving()


def _moving() -> ServiceUnavailable:
    return ServiceUnavailable("The schema is being changed. Please try again.")


def known() -> Snapshot | None:
    """The snapshot that this process has, however old; to reuse parts of."""
    return _latest
