"""The rows of views, read within limits and kept for a while.

What is kept is the answer to one statement with its parameters, so a rule, a filter and
whatever else makes callers see different rows is part of its name. It holds as long as
``cache_ttl`` seconds, and no longer than until an event of a collection that the statement
reads is in the log.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from django.db import DatabaseError, connection

from collections_app import dialects, events
from collections_app.dialects import quote
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views.definitions import checked_of
from core import database
from core.errors import BadRequest

MAX_VALUE = 16 * 1024 * 1024  # bytes of a value or row on SQLite, while a query runs
MAX_KEPT = 32 * 1024 * 1024  # bytes of all that is kept, by a rough count
MAX_ENTRY = 2 * 1024 * 1024
_MIN_VALUE_BYTES = 50
_ADVANCE_SECONDS = 1.0
# What a query does wrong with the values that it meets: errors of cardinality and data, limits of the database.
_OF_VALUES = {"21", "22", "54"}
_OF_SIZE = {"53200": "it takes too much memory", "53400": "what it sorts takes too much room"}
_TOO_LATE = "57014"
_OF_VALUES_SQLITE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}
_MOST_TOLD = 200  # characters of what the database says


class Unreadable(BadRequest):
    """The query can't be answered from the values that there are: a division by zero, a number too large."""


@dataclass(slots=True)
class _Kept:
    rows: list[database.Row]
    made: float  # by the monotonic clock
    mark: int  # no later event of the collections is in the log
    looked: float
    collections: tuple[str, ...]
    size: int


_kept: dict[tuple[Any, ...], _Kept] = {}
_lock = threading.Lock()
_bytes = 0


@dataclass(frozen=True, slots=True)
class View:
    """A view as something to read from: ``sql`` is a FROM item without its alias."""

    sql: str
    fleeting: bool
    rows: Callable[..., list[database.Row]]
    count: Callable[[str, Sequence[Any]], int]


def view(collection: CollectionDef, snapshot: Snapshot) -> View:
    """The view on this snapshot. Raises OverBudget where it first has to be looked at, and there is no time."""
    checked = checked_of(collection, snapshot)
    known: tuple[Any, View] | None = collection.memo.get("relation")
    if known is not None and known[0] is checked:
        return known[1]

    def rows(sql: str, params: Sequence[Any] = (), *, keyed: bool = False) -> list[database.Row]:
        return _rows(collection, sql, params)

    def count(source: str, params: Sequence[Any]) -> int:
        return int(rows(f"SELECT count(*) {source}", params)[0][0])

    made = View(checked.sql, checked.fleeting, rows, count)
    collection.memo["relation"] = (checked, made)
    return made


def empty() -> None:
    """Forget all rows."""
    global _bytes
    with _lock:
        _kept.clear()
        _bytes = 0


def _rows(collection: CollectionDef, sql: str, params: Sequence[Any]) -> list[database.Row]:
    ttl = collection.cache_ttl or 0
    with database.reading() as session:
        if session.transient or not ttl:
            return read(session, sql, params)
        snapshot = registry.current()
        key = (collection.id, collection.revision, snapshot.version, sql, *params, *map(type, params))
        known = _kept.get(key)
        if known is not None and monotonic() - known.made < ttl and _holds(known, session):
            return known.rows
        mark = _newest(session)
        made = monotonic()
        found = read(session, sql, params)
        _keep(key, found, made, mark, _collections_in(sql, snapshot))
        return found


def read(session: database.Session, sql: str, params: Sequence[Any]) -> list[database.Row]:
    """The rows of a statement with a view in it, within limits. Raises BadRequest for what goes beyond them."""
    with limited(session):
        return session.rows(sql, params or (None if connection.vendor == "postgresql" else ()))


@contextmanager
def limited(session: database.Session) -> Iterator[None]:
    """While this lasts, no value on the session may be huge, and what has to be sorted goes to files.

    What a query does wrong is Unreadable, and BadRequest where it takes too long.
    """
    raw = session.wrapper.connection
    on_sqlite = isinstance(raw, sqlite3.Connection)
    if on_sqlite:
        before = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        raw.execute("PRAGMA temp_store = FILE")
    try:
        yield
    except DatabaseError as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        if on_sqlite:
            raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
            raw.execute("PRAGMA temp_store = MEMORY")


def _refusal(error: DatabaseError) -> BadRequest | None:
    """What to say of an error, where it is the query's fault."""
    cause: Any = error.__cause__
    if isinstance(cause, sqlite3.Error):
        told = str(cause) if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _OF_VALUES_SQLITE else ""
    else:
        state = getattr(cause, "sqlstate", None) or ""
        if state == _TOO_LATE:
            return BadRequest("This view can't be read: it takes too long.")
        told = _OF_SIZE.get(state, "")
        if state[:2] in _OF_VALUES:
            told = cause.diag.message_primary or "a value does not fit"
    return Unreadable(f"This view can't be read: {told[:_MOST_TOLD]}.") if told else None


def _newest(session: database.Session) -> int:
    """Up to which event all that will ever be in the log is in what the session reads next."""
    known: int | None = session.memo.get("settled event")
    if known is None:
        known = events.settled_id()
        if session.settled:
            session.memo["settled event"] = known
    return known


def _holds(known: _Kept, session: database.Session) -> bool:
    newest = _newest(session) if session.settled or monotonic() - known.looked > _ADVANCE_SECONDS else None
    if newest is not None and session.settled and newest <= known.mark:
        return True
    dialect = dialects.current()
    marks = ", ".join([dialect.placeholder] * len(known.collections))
    changed = dialect.rows(
        "SELECT coalesce((SELECT trimmed_through FROM event_log_state WHERE id = 1), 0) > "
        f"{dialect.placeholder} OR EXISTS (SELECT 1 FROM events WHERE id > {dialect.placeholder}"
        f" AND collection_id IN ({marks}))",
        [known.mark, known.mark, *known.collections],
    )[0][0]
    if changed:
        return False
    if newest is not None:
        known.mark, known.looked = max(known.mark, newest), monotonic()
    return True


def _collections_in(sql: str, snapshot: Snapshot) -> tuple[str, ...]:
    """The collections whose records a statement reads: the view's sources, and what rules and filters lead to."""
    return tuple(
        collection.id
        for collection in snapshot.by_id.values()
        if quote(collection.table) in sql or any(quote(field.through) in sql for field in collection.through_fields)
    )


def _keep(key: tuple[Any, ...], rows: list[database.Row], made: float, mark: int, collections: tuple[str, ...]) -> None:
    global _bytes
    size = 1000 + sum(
        len(value) + _MIN_VALUE_BYTES if isinstance(value, str) else _MIN_VALUE_BYTES for row in rows for value in row
    )
    if size > MAX_ENTRY:
        return
    with _lock:
        old = _kept.pop(key, None)
        _bytes += size - (old.size if old is not None else 0)
        if _bytes > MAX_KEPT:
            _kept.clear()
            _bytes = size
        _kept[key] = _Kept(rows, made, mark, made, collections, size)
