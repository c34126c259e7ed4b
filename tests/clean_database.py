"""The database as it was before a test that really committed.

Django's flush does the same, but truncates every table, which on PostgreSQL waits for
the disk, and makes all content types and permissions anew: 0.3 s after each such test.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction

from collections_app import builtin
from collections_app.dialects import quote
from settings_app import seen
from settings_app.models import Theme, ThemeSetting

_KEPT = [model._meta.db_table for model in (ContentType, Permission, Theme, ThemeSetting)]
_rows: dict[str, list[tuple[Any, ...]]] = {}


def remember() -> None:
    """Keep what migrations have laid down, if some test needs them; asked once, before the first test."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        for table in set(_KEPT).intersection(connection.introspection.table_names(cursor)):
            _rows[table] = _content(cursor, table)


def restore(case: Any) -> None:
    """What a ``TransactionTestCase`` does in the end: empty Django's tables, and lay down what migrations had."""
    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # As a TRUNCATE would: wait for what a process that was killed has under way.
                cursor.execute(f"LOCK TABLE {', '.join(map(quote, tables))} IN EXCLUSIVE MODE")
            cursor.execute(
                " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in tables)
            )
            for (table,) in cursor.fetchall():
                if table not in _KEPT:
                    cursor.execute(f"DELETE FROM {quote(table)}")
            if alias == "default":
                _restore_kept(cursor)
    ContentType.objects.clear_cache()
    seen.forget()
    builtin.ensure_builtin(None, "default")


def _restore_kept(cursor: Any) -> None:
    changed = [table for table in _KEPT if _content(cursor, table) != _rows[table]]
    for table in changed:
        cursor.execute(f"DELETE FROM {quote(table)}")
    for table in changed:
        marks = ", ".join(["%s"] * len(_rows[table][0]))
        cursor.executemany(f"INSERT INTO {quote(table)} VALUES ({marks})", _rows[table])


def _content(cursor: Any, table: str) -> list[tuple[Any, ...]]:
    cursor.execute(f"SELECT * FROM {quote(table)} ORDER BY id")
    return list(cursor.fetchall())
