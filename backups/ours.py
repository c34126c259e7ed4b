"""Which tables are this installation's.

PostgreSQL's schema ``public`` may have others in it: tables of other programs, views for reports, extensions of
the hoster. They are no part of a backup, and a restore leaves them where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any

from django.apps import apps
from django.db.migrations.recorder import MigrationRecorder

from collections_app.models import Collection as CollectionRow

EXTENSION = "pg_trgm"  # the one that we have a use for: search indexes
DEFINITIONS = CollectionRow._meta.db_table
_LINKS = re.compile(r"rel_f[0-9a-z]+")  # of fields that point to many records
_TABLES = (
    "SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = '{}' AND c.relkind IN ('r', 'p') ORDER BY c.relname"
)

Rows = Callable[[str], Iterable[tuple[Any, ...]]]  # executes SQL


@cache
def of_models() -> frozenset[str]:
    """The tables of all installed models, those between two of them, and that of migrations."""
    models = apps.get_models(include_auto_created=True)
    return frozenset(
        {MigrationRecorder.Migration._meta.db_table, *(one._meta.db_table for one in models if one._meta.managed)}
    )


def of_collection(which: str, name: str, *, system: bool) -> str:
    """The table with the records of a collection; a view has none of that name."""
    return name if system else f"c_{which}"


def is_ours(table: str, of_collections: Collection[str]) -> bool:
    """``of_collections`` are the tables of those collections that the same database defines."""
    return table in of_models() or _LINKS.fullmatch(table) is not None or table in of_collections


def tables(rows: Rows, schema: str) -> tuple[list[str], list[str]]:
    """The tables of a schema: ours, and those of others."""
    names = [str(row[0]) for row in rows(_TABLES.format(schema))]
    here: set[str] = set()
    if DEFINITIONS in names:
        found = rows(f'SELECT id, name, system FROM "{schema}"."{DEFINITIONS}"')
        here.update(of_collection(which, name, system=system) for which, name, system in found)
    mine = [name for name in names if is_ours(name, here)]
    return mine, [name for name in names if name not in set(mine)]
