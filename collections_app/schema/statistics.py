"""What the query planner knows about the tables of collections.

Without statistics SQLite takes every comparison with ``=`` for a rare one, and
reads 90,000 active records to find the ten of one owner. So a table is analysed
when an index of it has no statistics yet, and when it has doubled since the last
time: after a change of the schema, after many records came at once, and when a
server starts. Never inside somebody's transaction: after it.
"""

from __future__ import annotations

from django.db import connection, transaction

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot

MIN_ROWS = 1000  # whatever the plan, a smaller table is quick
# Entries of each index that SQLite looks at, 30 ms' worth: less, and a value that half of a
# million records have would seem to be a rare one.
_SQLITE_ENTRIES = 200_000

_GROWTH = 2
_SQLITE_ANALYSED = """
    SELECT max(CAST(s.stat AS integer)), count(s.stat) = count(*) FROM sqlite_master AS m
    LEFT JOIN sqlite_stat1 AS s ON s.tbl = m.tbl_name AND s.idx = m.name WHERE m.type = 'index' AND m.tbl_name = ?"""
# Pages then, pages now, and whether every indexed column has statistics.
_POSTGRESQL_ANALYSED = """
    SELECT t.relpages, pg_relation_size(t.oid) / current_setting('block_size')::int, NOT EXISTS (
        SELECT 1 FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = t.oid AND NOT EXISTS (
            SELECT 1 FROM pg_stats AS s
            WHERE s.schemaname = current_schema() AND s.tablename = t.relname AND s.attname = a.attname))
    FROM pg_class AS t WHERE t.oid = %s::regclass"""


def refresh_later(collection: CollectionDef) -> None:
    """Once the transaction under way is committed; a failure is logged and harms nobody."""
    transaction.on_commit(lambda: refresh(collection), robust=True)


def loaded(collection: CollectionDef, count: int) -> None:
    """``count`` records came in the transaction under way."""
    if count >= MIN_ROWS:
        refresh_later(collection)


def refresh_all(snapshot: Snapshot) -> None:
    for collection in snapshot.by_id.values():
        if collection.type != "view":
            refresh(collection)


def refresh(collection: CollectionDef) -> None:
    """Analyse the tables of the collection that need it. Must not run inside a transaction."""
    for table in (collection.table, *(field.through for field in collection.through_fields)):
        if _has_enough_rows(table) and _is_outdated(table):
            _analyse(table)


def _has_enough_rows(table: str) -> bool:
    sql = f"SELECT 1 FROM {quote(table)} LIMIT 1 OFFSET {MIN_ROWS - 1}"
    return dialects.current().execute(sql).fetchone() is not None


def _is_outdated(table: str) -> bool:
    execute = dialects.current().execute
    if connection.vendor == "postgresql":
        then, now, complete = execute(_POSTGRESQL_ANALYSED, [quote(table)]).fetchone()
    else:
        if not execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
            return True
        then, complete = execute(_SQLITE_ANALYSED, [table]).fetchone()
        now = execute(f"SELECT max(rowid) FROM {quote(table)}").fetchone()[0]
    return not complete or now >= _GROWTH * then


def _analyse(table: str) -> None:
    execute = dialects.current().execute
    if connection.vendor == "postgresql":
        execute(f"ANALYZE {quote(table)}")
        return
    with transaction.atomic():
        execute(f"PRAGMA analysis_limit = {_SQLITE_ENTRIES}")
        execute(f"ANALYZE {quote(table)}")
        # Other connections read the statistics with the schema, and that only when it has changed.
        execute("CREATE VIEW statistics_are_new AS SELECT 1")
        execute("DROP VIEW statistics_are_new")
