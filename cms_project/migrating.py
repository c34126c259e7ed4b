"""Migrations at the start of a server: one process at a time; the others wait, and find them applied.

Django notes a migration as applied after it has committed its tables. A process
killed in between leaves tables that the next start would try to make again. On an
empty database, where all of them run, everything is therefore one transaction.
(Later ones stay apart: on PostgreSQL a change of data and one of tables may not
share a transaction.)
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from cms_project import ephemeral
from collections_app.schema import registry, statistics

logger = logging.getLogger(__name__)

# Any number will do, as long as nothing else in the database uses it.
_ADVISORY_LOCK = 7_305_014


def migrate() -> None:
    """Bring the database up to date, also when several servers start on it at once."""
    with _alone():
        with _all_or_nothing() if is_empty() else nullcontext():
            call_command("migrate", database=DEFAULT_DB_ALIAS, verbosity=0, interactive=False)
        ephemeral.migrate()
        _refresh_statistics()


def _refresh_statistics() -> None:
    """Of what has grown record by record since the last start; a server starts without, too."""
    try:
        statistics.refresh_all(registry.latest())
    except DatabaseError:
        logger.exception("the planner's statistics could not be refreshed")


def is_empty() -> bool:
    """Whether no migration has ever run on the database."""
    return MigrationRecorder.Migration._meta.db_table not in connection.introspection.table_names()


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    connection.disable_constraint_checking()  # SQLite makes no tables in a transaction that checks them
    try:
        with transaction.atomic():
            yield
    finally:
        connection.enable_constraint_checking()


@contextmanager
def _alone() -> Iterator[None]:
    """Both locks end with the process that holds them, however it ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")  # others' migrations may take long
            cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
            cursor.execute("RESET lock_timeout")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
        return
    database = Path(str(connection.settings_dict["NAME"]))
    with database.with_name(f"{database.name}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
