"""The transaction of a write: rows and their events together, on a schema that holds still."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction

from accounts.principals import Principal
from collections_app import dialects, events
from collections_app.events import Change
from collections_app.files import uses
from collections_app.records.codec import Record
from collections_app.schema.change import ADVISORY_LOCK
from collections_app.schema.definition import CollectionDef
from collections_app.schema.registry import VERSION_SQL, SchemaMoved, latest, read_version
from collections_app.schema.snapshot import Snapshot
from core import clock
from core.errors import Conflict


@dataclass(slots=True)
class UnitOfWork:
    """What one transaction changes, and the moment that it happens at."""

    snapshot: Snapshot
    principal: Principal
    now: datetime
    moment: str
    changes: list[Change] = field(default_factory=list)

    def created(self, collection: CollectionDef, record: Record) -> None:
        self._log("record.created", collection, record, None)

    def updated(self, collection: CollectionDef, record: Record, before: Record) -> None:
        self._log("record.updated", collection, record, before)

    def deleted(self, collection: CollectionDef, before: Record) -> None:
        self._log("record.deleted", collection, None, before)

    def _log(self, kind: str, collection: CollectionDef, data: Record | None, before: Record | None) -> None:
        if collection.file_fields:
            uses.follow(collection, before, data)
        record_id = data["id"] if data else before["id"]  # type: ignore[index]
        self.changes.append(
            Change(
                kind, collection.name, collection.id, record_id, collection.revision,
                _without_secrets(collection, data), _without_secrets(collection, before),
            )
        )  # fmt: skip


def _without_secrets(collection: CollectionDef, record: Record | None) -> Record | None:
    """What the log keeps: hidden fields yes, secrets never."""
    if record is None:
        return None
    secret = collection.memo.get("secret")
    if secret is None:
        secret = collection.memo["secret"] = frozenset(f.name for f in collection.fields if f.secret)
    if not secret:
        return dict(record)
    return {name: value for name, value in record.items() if name not in secret}


class _Group(threading.local):
    """The schema epoch that this thread's open group holds still; None without a group."""

    version: int | None = None


_group = _Group()


@contextmanager
def unit_of_work(snapshot: Snapshot, principal: Principal) -> Iterator[UnitOfWork]:
    """Commit all changes with their events, or none; inside a :func:`group` the commit is the group's.

    Raises SchemaMoved if the schema is no longer the snapshot's, before anything
    is written; Conflict if a record that a relation needs went away meanwhile.
    """
    try:
        with _transaction() if _group.version is None else _Savepoint() as version:
            if version != snapshot.version:
                raise SchemaMoved
            now = clock.now()
            work = UnitOfWork(snapshot, principal, now, clock.isoformat(now))
            yield work
            events.append(work.changes, principal.key, now)
    except IntegrityError as error:
        # Only deferred constraints are left for the commit: a relation's target is gone, or still needed.
        raise Conflict("A related record was changed at the same time. Please try again.") from error


# Shared with other writes, exclusive to schema changes, and first come first served. The second
# statement, in the same message, sees what was committed while the first one waited.
_WAIT_AND_LOOK = f"SELECT pg_advisory_xact_lock_shared({ADVISORY_LOCK}); {VERSION_SQL}"


@contextmanager
def _transaction() -> Iterator[int]:
    """Answers the schema epoch, which holds still until the end."""
    with transaction.atomic():
        dialect = dialects.current()
        if dialect.name == "sqlite":
            yield read_version()
        else:
            cursor = dialect.execute(_WAIT_AND_LOOK)
            cursor.nextset()
            row = cursor.fetchone()
            yield row[0] if row else 0


@contextmanager
def group() -> Iterator[None]:
    """One transaction for this thread's units of work: each fails alone, the others commit together."""
    with _transaction():
        # On which all of them begin.
        _group.version = latest().version
        try:
            yield
        finally:
            _group.version = None


def in_group() -> bool:
    """Whether what this thread writes now is committed only with its group."""
    return _group.version is not None


@contextmanager
def savepoint(work: UnitOfWork) -> Iterator[None]:
    """A part that may fail alone: its rows and its events are undone together."""
    mark = len(work.changes)
    try:
        with _Savepoint():
            yield
    except BaseException:
        del work.changes[mark:]
        raise


class _Savepoint:
    """``transaction.atomic`` inside a transaction, at a tenth of its price."""

    def __enter__(self) -> int | None:
        """Answers the schema epoch of the group around it, if there is one."""
        self._hooks = len(connections[DEFAULT_DB_ALIAS].run_on_commit)
        dialects.current().execute("SAVEPOINT part")
        return _group.version

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        execute = dialects.current().execute
        if kind is not None:
            del connections[DEFAULT_DB_ALIAS].run_on_commit[self._hooks :]
            # Of several with one name, the innermost is meant.
            execute("ROLLBACK TO SAVEPOINT part")
        execute("RELEASE SAVEPOINT part")
