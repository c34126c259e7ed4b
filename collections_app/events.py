"""The event log: every committed change is one row, written in the change's own transaction.

Writers call :func:`append` inside their transaction. Whoever wants to know asks
:func:`read` for what came after the last event that they know, and connects to
:data:`appended`, which is only a wake-up: a listener that missed it still finds
the row.

On PostgreSQL transactions do not commit in the order in which their events got
ids: number 11 may be seen while 10 is still to come, and who goes on from 11
never sees it. So each writer marks, by an advisory lock that nobody waits for,
the id that the log had when it began; readers stop at the lowest mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.dispatch import Signal

from collections_app import dialects
from collections_app.models import Event

# Sent after commit, without arguments: there are new rows in the log.
appended = Signal()
# The upper bits of our advisory locks, so that they are nobody else's; the id is in the lower 48.
_MARKS = 0x0E7E
_COLUMNS = "INSERT INTO events (type, collection, collection_id, record_id, data, previous, actor, timestamp)"
_INSERT = {
    "sqlite": f"{_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "postgresql": f"{_COLUMNS} VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
}
# The first row of a transaction: the mark is made before the row gets its id, which is part of what is
# selected from it.
_INSERT_FIRST = {
    "sqlite": _INSERT["sqlite"],
    "postgresql": (
        f"WITH mark AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({_MARKS << 48} + last_value"
        " - (NOT is_called)::int) FROM events_id_seq)"
        f" {_COLUMNS} SELECT %s, %s, %s, %s, %s, %s, %s, %s FROM mark"
    ),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change to be logged. ``data`` and ``previous`` are whole records, hidden fields
    included: who may see what is decided when somebody reads the log."""

    type: str
    collection: str
    collection_id: str
    record_id: str
    data: Mapping[str, Any] | None
    previous: Mapping[str, Any] | None = None


def append(changes: Sequence[Change], actor: str, moment: datetime) -> None:
    """Write the changes to the log; must run inside the transaction that makes them."""
    if not changes:
        return
    dialect = dialects.current()
    timestamp = dialect.moment(moment)
    rows = [
        (
            change.type,
            change.collection,
            change.collection_id,
            change.record_id,
            _dump(change.data),
            _dump(change.previous),
            actor,
            timestamp,
        )
        for change in changes
    ]
    dialect.execute(_INSERT_FIRST[dialect.name], rows[0])
    if len(rows) > 1:
        dialect.executemany(_INSERT[dialect.name], rows[1:])
    hooks = connections[DEFAULT_DB_ALIAS].run_on_commit
    if not hooks or hooks[-1][1] is not _wake:
        # Once is enough. Robust: what is committed has succeeded, whatever a listener makes of it.
        transaction.on_commit(_wake, robust=True)


def read(after: int, limit: int = 1000) -> list[Event]:
    """The next events in the order of their ids; none with a lower id will come later."""
    return list(Event.objects.filter(id__gt=after, id__lte=_settled_id()).order_by("id")[:limit])


def _settled_id() -> int:
    """The id up to which nobody is still writing. The order of the two questions matters."""
    execute = dialects.current().execute
    last: int = execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
    if dialects.current().name != "postgresql":
        return last  # one writer at a time: ids are given in the order of the commits
    lowest_mark = execute(
        "SELECT min(((classid::bigint << 32) | objid::bigint) - %s) FROM pg_locks WHERE locktype = 'advisory'"
        " AND objsubid = 1 AND classid::bigint >> 16 = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [_MARKS << 48, _MARKS],
    ).fetchone()[0]
    return last if lowest_mark is None else min(last, lowest_mark)


def _dump(record: Mapping[str, Any] | None) -> str | None:
    return None if record is None else orjson.dumps(record).decode()


def _wake() -> None:
    appended.send(sender=None)
