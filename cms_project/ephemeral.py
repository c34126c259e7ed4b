"""The second SQLite file: tables that are written all the time and that nobody misses.

What is written there neither waits for the writer of the content nor makes its
caches of totals stale. The file may be deleted while no server runs: the next
start makes it again, and all that happens is that people sign in anew and that
the log of requests is empty. No table in it may refer to one outside. On PostgreSQL
there is one database, and no router.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.models import Model

ALIAS = "ephemeral"
APPS = ("sessions", "monitoring")  # all models of these apps

logger = logging.getLogger(__name__)


class Router:
    """Sends the models of ``APPS`` to the second file, and nothing else."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label in APPS else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (app_label in APPS) == (db == ALIAS)


def migrate() -> None:
    """Make the file, or bring it up to date, in one transaction; a damaged one is made anew."""
    if ALIAS not in connections:
        return
    try:
        _apply()
    except DatabaseError as error:
        if not _is_damage(error):
            raise
        file = Path(str(connections[ALIAS].settings_dict["NAME"]))
        logger.warning("%s is damaged and is made anew; people have to sign in again", file)
        connections[ALIAS].close()
        for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            path.unlink(missing_ok=True)
        _apply()


def _apply() -> None:
    connection = connections[ALIAS]
    connection.disable_constraint_checking()  # SQLite makes no tables in a transaction that checks them
    try:
        with transaction.atomic(using=ALIAS):
            for app in (label for label in APPS if label in apps.app_configs):
                call_command("migrate", app, database=ALIAS, verbosity=0, interactive=False)
    finally:
        connection.enable_constraint_checking()


def _is_damage(error: DatabaseError) -> bool:
    """Whether the file is no database any more, rather than locked or out of space."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # the rest says where
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
