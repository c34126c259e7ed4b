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
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.dispatch import Signal

from collections_app import dialects

# Sent after commit, without arguments: there are new rows in the log.
appended = Signal()
# The upper bits of our advisory locks, so that they are nobody else's; the id is in the lower 48.
_MARKS = 0x0E7E
_COLUMNS = "INSERT INTO events (type, collection, collection_id, record_id, revision, data, previous, actor, timestamp)"
_INSERT = {
    "sqlite": f"{_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "postgresql": f"{_COLUMNS} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
}
# The first row of a transaction: the mark is made before the row gets its id, which is part of what is
# selected from it.
_INSERT_FIRST = {
    "sqlite": _INSERT["sqlite"],
    "postgresql": (
        f"WITH mark AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({_MARKS << 48} + last_value"
        " - (NOT is_called)::int) FROM events_id_seq)"
        f" {_COLUMNS} SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s FROM mark"
    ),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change to be logged. ``data`` and ``previous`` are whole records, hidden fields
    included: who may see what is decided when somebody reads the log. ``revision`` is that
    of the collection whose fields' names they have."""

    type: str
    collection: str
    collection_id: str
    record_id: str
    revision: int
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
            change.revision,
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


class Logged:
    """An event as it stands in the log; its records are parsed when somebody wants them."""

    __slots__ = ("__dict__", "_data", "_previous", "_timestamp", "actor", "collection", "collection_id", "id",
                 "record_id", "revision", "type")  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        (
            self.id,
            self.type,
            self.collection,
            self.collection_id,
            self.record_id,
            self.revision,
            self._data,
            self._previous,
            self.actor,
            self._timestamp,
        ) = row

    @cached_property
    def data(self) -> dict[str, Any] | None:
        """The whole record after the change; None where it was deleted."""
        return None if self._data is None else orjson.loads(self._data)

    @cached_property
    def previous(self) -> dict[str, Any] | None:
        """The whole record before the change; None where it was created."""
        return None if self._previous is None else orjson.loads(self._previous)

    @cached_property
    def timestamp(self) -> datetime:
        moment = self._timestamp
        return moment if isinstance(moment, datetime) else datetime.fromisoformat(moment).replace(tzinfo=UTC)


_SELECT = {
    "sqlite": "SELECT id, type, collection, collection_id, record_id, revision, +data, +previous, actor, +timestamp"
    " FROM events",
    "postgresql": "SELECT id, type, collection, collection_id, record_id, revision, data::text, previous::text, actor,"
    " timestamp FROM events",
}
_READ = {
    "sqlite": f"{_SELECT['sqlite']} WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
    "postgresql": f"{_SELECT['postgresql']} WHERE id > %s AND id <= %s ORDER BY id LIMIT %s",
}
_PREVIOUS = {"sqlite": "+previous", "postgresql": "previous::text"}
_EXTENT = (
    "SELECT coalesce((SELECT CASE WHEN trimmed_through > begins_after THEN trimmed_through ELSE begins_after END"
    " FROM event_log_state WHERE id = 1), 0),"
    " coalesce((SELECT max(id) FROM events), 0)"
)
_CHUNK = 500


def read(after: int, limit: int = 1000, through: int | None = None) -> list[Logged]:
    """The next events in the order of their ids, at most up to ``through``; none with a lower id will come later.

    On the reading session under way, if there is one.
    """
    dialect = dialects.current()
    last = settled_id()
    found = dialect.rows(_READ[dialect.name], [after, last if through is None else min(last, through), limit])
    return [Logged(row) for row in found]


def find(event_ids: Sequence[int]) -> dict[int, Logged]:
    """Those of the events that are still in the log, by their ids."""
    dialect = dialects.current()
    found: dict[int, Logged] = {}
    for start in range(0, len(event_ids), _CHUNK):
        chunk = list(event_ids[start : start + _CHUNK])
        marks = ", ".join([dialect.placeholder] * len(chunk))
        found |= {row[0]: Logged(row) for row in dialect.rows(f"{_SELECT[dialect.name]} WHERE id IN ({marks})", chunk)}
    return found


def first_since(collection_id: str, moment: datetime) -> int | None:
    """The first event of the collection that happened at this moment or later; None where there is none.

    Looks at all of its events: by the clocks of several machines they need not be in order.
    """
    dialect = dialects.current()
    mark = dialect.placeholder
    found: int | None = dialect.rows(
        f"SELECT min(id) FROM events WHERE collection_id = {mark} AND timestamp >= {mark}",
        [collection_id, dialect.moment(moment)],
    )[0][0]
    return found


def definition_at(collection_id: str, revision: int) -> dict[str, Any] | None:
    """The collection, as admins saw it, when that was its revision; None where its fields are still the same.

    As long as an event is in the log, so are the later changes of its collection. Where a change of another
    collection only rewrote its rules, there is a revision without an event.
    """
    dialect = dialects.current()
    mark = dialect.placeholder
    rows = dialect.rows(
        f"SELECT {_PREVIOUS[dialect.name]} FROM events WHERE collection_id = {mark} AND record_id = ''"
        f" AND type = 'collection.updated' AND revision > {mark} ORDER BY id LIMIT 1",
        [collection_id, revision],
    )
    return orjson.loads(rows[0][0]) if rows else None


def reaches_back_to(event_id: int) -> bool:
    """Whether whoever knows all events up to this one can be told of all that came after it."""
    trimmed, newest = extent()
    return trimmed <= event_id <= newest


def extent() -> tuple[int, int]:
    """Up to which id the log was trimmed (or where it begins, after a restore), and the newest id in it.

    Ask after reading: what was trimmed meanwhile is missing in what was read. An id beyond
    the newest is of another log, from before a restore.
    """
    found = dialects.current().rows(_EXTENT, keyed=True)[0]
    return found[0], found[1]


def settled_id() -> int:
    """The id up to which nobody is still writing. The order of the two questions matters."""
    rows = dialects.current().rows
    last: int = rows("SELECT coalesce(max(id), 0) FROM events", keyed=True)[0][0]
    if dialects.current().name != "postgresql":
        return last  # one writer at a time: ids are given in the order of the commits
    lowest_mark = rows(
        "SELECT min(((classid::bigint << 32) | objid::bigint) - %s) FROM pg_locks WHERE locktype = 'advisory'"
        " AND objsubid = 1 AND classid::bigint >> 16 = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [_MARKS << 48, _MARKS],
        keyed=True,
    )[0][0]
    return last if lowest_mark is None else min(last, lowest_mark)


def _dump(record: Mapping[str, Any] | None) -> str | None:
    return None if record is None else orjson.dumps(record).decode()


def _wake() -> None:
    appended.send(sender=None)
