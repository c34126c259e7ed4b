"""The transaction of a schema change.

Metadata, tables, permissions, event and epoch commit together or not at all, on
both engines. Changes are serialised: SQLite by its one writer, PostgreSQL by an
advisory lock whose other side, shared, every record write takes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from accounts.principals import Principal
from collections_app import dialects, events
from collections_app.events import Change
from collections_app.schema import registry
from collections_app.schema.snapshot import Snapshot
from core import clock
from core.errors import ServiceUnavailable

# Any number will do, as long as nothing else in the database uses it.
ADVISORY_LOCK = 7_305_013
# A change that waits for others to finish holds up writes; one that waits for a table, reads too.
_LOCK_TIMEOUT, _TABLE_LOCK_TIMEOUT = "3s", "1s"


@dataclass(slots=True)
class SchemaChange:
    """What a change works on: the schema as it is for this transaction, an editor of the tables, and what
    will stand in the log."""

    snapshot: Snapshot
    editor: BaseDatabaseSchemaEditor
    logged: list[tuple[Change, Principal]] = field(default_factory=list)

    def log(self, change: Change, actor: Principal) -> None:
        self.logged.append((change, actor))


class _Open(threading.local):
    """The log of the changes that this thread makes as one; None where each is its own."""

    logged: list[tuple[Change, Principal]] | None = None


_open = _Open()


@contextmanager
def schema_change() -> Iterator[SchemaChange]:
    """One schema change. Must not run inside another transaction, but for one of :func:`together`.

    Raises ServiceUnavailable when another change or a long write holds the lock.
    """
    if _open.logged is not None:
        with _step(_open.logged) as change:
            yield change
        return
    with _transaction():
        logged: list[tuple[Change, Principal]] = []
        with _step(logged) as change:
            yield change
        _write(logged)


@contextmanager
def together() -> Iterator[None]:
    """All schema changes of this thread in here are one: one transaction, and one event for each collection.

    Raises what :func:`schema_change` does.
    """
    with _transaction():
        logged: list[tuple[Change, Principal]] = []
        _open.logged = logged
        try:
            yield
        finally:
            _open.logged = None
        _write(_merged(logged))


@contextmanager
def _step(logged: list[tuple[Change, Principal]]) -> Iterator[SchemaChange]:
    with connection.schema_editor(atomic=False) as editor:
        yield SchemaChange(registry.load(registry.known()), editor, logged)
        dialects.current().execute("UPDATE schema_epoch SET version = version + 1 WHERE id = 1")
    if _open.logged is not None and connection.vendor == "postgresql":
        # A table whose rows still wait for their foreign keys to be checked could not be altered again.
        dialects.current().execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


@contextmanager
def _transaction() -> Iterator[None]:
    if connection.in_atomic_block:
        raise transaction.TransactionManagementError("A schema change is a transaction of its own.")
    # SQLite can rebuild a table only with foreign keys off, and can only be told so outside of transactions.
    connection.disable_constraint_checking()
    try:
        with transaction.atomic():
            _lock()
            yield
    except OperationalError as error:
        if _is_lock_timeout(error):
            raise ServiceUnavailable("The data is busy; the change was not made. Please try again.") from error
        raise
    finally:
        _check_constraints_again()
        ContentType.objects.clear_cache()


def _write(logged: list[tuple[Change, Principal]]) -> None:
    for change, actor in logged:
        events.append([change], actor=actor.key, moment=clock.now())


def _merged(logged: list[tuple[Change, Principal]]) -> list[tuple[Change, Principal]]:
    """What became of each collection; the steps on the way there are nobody's affair."""
    found: dict[str, tuple[Change, Principal]] = {}
    for last, actor in logged:
        first = found.pop(last.collection_id, (last, actor))[0]
        if first is last:
            found[last.collection_id] = last, actor
        elif last.type != "collection.deleted":
            kind = "collection.created" if first.previous is None else "collection.updated"
            found[last.collection_id] = replace(last, type=kind, previous=first.previous), actor
        elif first.previous is not None:
            found[last.collection_id] = (
                replace(last, previous=first.previous, collection=first.previous["name"]),
                actor,
            )
    return [(change, actor) for change, actor in found.values() if not _is_nothing(change)]


def _is_nothing(change: Change) -> bool:
    """Whether all is again as it was."""
    if change.data is None or change.previous is None:
        return False
    return {**change.data, "updated": ""} == {**change.previous, "updated": ""}


def _check_constraints_again() -> None:
    """The editor could not switch them back on inside our transaction."""
    connection.enable_constraint_checking()
    if connection.vendor == "sqlite" and not dialects.current().execute("PRAGMA foreign_keys").fetchone()[0]:
        connection.close()  # nobody may write through a connection that has them off


def _lock() -> None:
    if connection.vendor == "postgresql":
        dialect = dialects.current()
        dialect.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        dialect.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        dialect.execute(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_TIMEOUT}'")


def _is_lock_timeout(error: OperationalError) -> bool:
    """Locked for too long, or deadlocked; by SQLSTATE, because PostgreSQL's words depend on its language."""
    return getattr(error.__cause__, "sqlstate", None) in ("55P03", "40P01") or "is locked" in str(error)
