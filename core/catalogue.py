"""What the database itself says about its tables: columns, keys and indexes, read at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

_SQLITE_COLUMNS = """
    SELECT m.name, c.name, lower(c.type), '', c.pk FROM sqlite_master AS m, pragma_table_info(m.name) AS c
    WHERE m.type = 'table'"""
# Each index with what it was made by, its name left out.
_SQLITE_TEXTS = """
    SELECT tbl_name, name, replace(substr(sql, instr(lower(sql), ' on ')), '"', '')
        || (CASE WHEN lower(sql) LIKE 'create unique%' THEN ' unique' ELSE '' END)
    FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"""
_POSTGRESQL_TEXTS = """
    SELECT t.relname, n.relname, replace(substr(d.text, strpos(d.text, ' ON ')), '"', '')
        || (CASE WHEN i.indisunique THEN ' unique' ELSE '' END)
    FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_class AS n ON n.oid = i.indexrelid
    CROSS JOIN LATERAL (SELECT pg_get_indexdef(i.indexrelid) AS text) AS d
    WHERE t.relnamespace = current_schema()::regnamespace AND NOT i.indisprimary"""
_SQLITE_KEYS = """
    SELECT m.name, k."from", k."table", coalesce(k."to", 'id')
    FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table'"""
_SQLITE_INDEXES = """
    SELECT m.name, i.name, i."unique", c.name, 1
    FROM sqlite_master AS m, pragma_index_list(m.name) AS i, pragma_index_info(i.name) AS c
    WHERE m.type = 'table' ORDER BY i.name, c.seqno"""
_POSTGRESQL_COLUMNS = """
    SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), coalesce(l.collname, ''),
        coalesce(c.attnum = ANY (p.indkey), false)
    FROM pg_class AS t LEFT JOIN pg_index AS p ON p.indrelid = t.oid AND p.indisprimary
    JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
    LEFT JOIN pg_collation AS l ON l.oid = c.attcollation AND l.collname <> 'default'
    WHERE t.relkind = 'r' AND t.relnamespace = current_schema()::regnamespace"""
_POSTGRESQL_KEYS = """
    SELECT t.relname, c.attname, o.relname, d.attname
    FROM pg_constraint AS k JOIN pg_class AS t ON t.oid = k.conrelid JOIN pg_class AS o ON o.oid = k.confrelid
    JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = k.conkey[1]
    JOIN pg_attribute AS d ON d.attrelid = o.oid AND d.attnum = k.confkey[1]
    WHERE k.contype = 'f' AND k.convalidated AND t.relnamespace = current_schema()::regnamespace"""
_POSTGRESQL_INDEXES = """
    SELECT t.relname, n.relname, i.indisunique, coalesce(c.attname, ''), i.indisvalid
    FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_class AS n ON n.oid = i.indexrelid
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
    LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = k.attnum AND k.attnum > 0
    WHERE t.relnamespace = current_schema()::regnamespace ORDER BY n.relname, k.place"""


@dataclass(frozen=True, slots=True)
class Column:
    """``type`` is the declared type in lower case, ``collation`` empty for the default one."""

    type: str
    collation: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key of one column."""

    column: str
    table: str
    target: str


@dataclass(frozen=True, slots=True)
class Index:
    """``columns`` in order; the empty text stands for an expression."""

    columns: tuple[str, ...]
    unique: bool
    valid: bool


@dataclass(slots=True)
class Table:
    columns: dict[str, Column] = field(default_factory=dict)
    keys: set[Key] = field(default_factory=set)
    indexes: dict[str, Index] = field(default_factory=dict)


def read() -> dict[str, Table]:
    """All tables by name. Only reads."""
    if connection.vendor == "sqlite":
        return _assemble(_SQLITE_COLUMNS, _SQLITE_KEYS, _SQLITE_INDEXES)
    return _assemble(_POSTGRESQL_COLUMNS, _POSTGRESQL_KEYS, _POSTGRESQL_INDEXES)


def twins() -> list[tuple[str, list[str]]]:
    """Indexes that say the same of the same table: the table, and their names."""
    found: dict[tuple[str, str], list[str]] = {}
    for table, name, text in _rows(_SQLITE_TEXTS if connection.vendor == "sqlite" else _POSTGRESQL_TEXTS):
        found.setdefault((table, "".join(text.lower().split())), []).append(name)
    return [(table, sorted(names)) for (table, _), names in sorted(found.items()) if len(names) > 1]


def _assemble(columns_sql: str, keys_sql: str, indexes_sql: str) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for table, name, kind, collation, primary in _rows(columns_sql):
        tables.setdefault(table, Table()).columns[name] = Column(kind, collation, bool(primary))
    for table, column, other, target in _rows(keys_sql):
        tables[table].keys.add(Key(column, other, target))
    for table, name, unique, column, valid in _rows(indexes_sql):
        known = tables[table].indexes.get(name)
        before = known.columns if known else ()
        tables[table].indexes[name] = Index((*before, column or ""), bool(unique), bool(valid))
    return tables


def _rows(sql: str) -> Iterable[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
