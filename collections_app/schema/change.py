"""The transaction of a schema change.

Metadata, tables, permissions, event and epoch commit together or not at all, on
both engines. Changes are serialised: SQLite by its one writer, PostgreSQL by an
advisory lock whose other side, shared, every record write takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from collections_app import dialects
from collections_app.schema import registry
from collections_app.schema.snapshot import Snapshot
from core.errors import ServiceUnavailable

# Any number will do, as long as nothing else in the database uses it.
ADVISORY_LOCK = 7_305_013
# A change that waits for others to finish holds up writes; one that waits for a table, reads too.
_LOCK_TIMEOUT, _TABLE_LOCK_TIMEOUT = "3s", "1s"


@dataclass(slots=True)
class SchemaChange:
    """What a change works on: the schema as committed, and an editor of the tables."""

    snapshot: Snapshot
    editor: BaseDatabaseSchemaEditor


@contextmanager
def schema_change() -> Iterator[SchemaChange]:
    """One schema change. Must not run inside another transaction.

    Raises ServiceUnavailable when another change or a long write holds the lock.
    """
    if connection.in_atomic_block:
        raise transaction.TransactionManagementError("A schema change is a transaction of its own.")
    # SQLite can rebuild a table only with foreign keys off, and can only be told so outside of transactions.
    connection.disable_constraint_checking()
    try:
        with transaction.atomic():
            _lock()
            with connection.schema_editor(atomic=False) as editor:
                yield SchemaChange(registry.load(registry.known()), editor)
                dialects.current().execute("UPDATE schema_epoch SET version = version + 1 WHERE id = 1")
    except OperationalError as error:
        if _is_lock_timeout(error):
            raise ServiceUnavailable("The data is busy; the change was not made. Please try again.") from error
        raise
    finally:
        _check_constraints_again()
        ContentType.objects.clear_cache()


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
