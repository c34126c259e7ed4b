"""What the database itself can tell: damaged pages and indexes, references to nothing, numbers given twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db import connection

from core import catalogue
from core.consistency import Problem

_DAMAGED_INDEX = re.compile(r"(?:row \d+ missing from|wrong # of entries in|non-unique entry in) index (\S+)")
_MOST = 100
_EXAMPLES = 5


def check() -> Iterator[Problem]:
    if connection.vendor == "sqlite":
        yield from _pages()
    else:
        yield from _invalid_indexes()
        yield from _sequences()
    yield from _twins()
    yield from _references()


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)


def _pages() -> Iterator[Problem]:
    """https://www.sqlite.org/pragma.html#pragma_integrity_check"""
    indexes: set[str] = set()
    for (line,) in _rows(f"PRAGMA integrity_check({_MOST})"):
        found = _DAMAGED_INDEX.match(line)
        if found:
            indexes.add(found[1])
        elif line.startswith(("CHECK constraint failed", "NULL value in")):
            yield Problem(f"A row holds what its table does not allow: {line}.")
        elif line != "ok":
            yield Problem(f"The database file is damaged: {line}. Restore a backup, or use sqlite3's .recover.")
    for name in sorted(indexes):
        again = partial(_run, f"REINDEX {_quote(name)}")
        yield Problem(f"The index {name!r} does not hold what its table does.", again)


def _invalid_indexes() -> Iterator[Problem]:
    for (name,) in _rows(
        "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace ORDER BY 1"
    ):
        yield Problem(f"The index {name!r} was never finished.", partial(_run, f"REINDEX INDEX {_quote(name)}"))


def _sequences() -> Iterator[Problem]:
    """Sequences that would give a number which a row has already."""
    for table, column, sequence in _rows(
        "SELECT t.relname, a.attname, s.relname FROM pg_class AS s JOIN pg_depend AS d ON d.objid = s.oid"
        " AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass JOIN pg_class AS t ON t.oid = d.refobjid"
        " JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
        " WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace ORDER BY 1"
    ):
        ((count, highest, last),) = _rows(
            f"SELECT (SELECT count(*) FROM {_quote(table)}), (SELECT max({_quote(column)}) FROM {_quote(table)}),"
            f" (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {_quote(sequence)})"
        )
        # A table of one row, which was laid down by its number, asks its sequence for none.
        if count and highest > last and (last or count > 1):
            yield Problem(
                f"The next number of {table}.{column} is taken: {highest} stands there, {last} was given last.",
                partial(_run, f"SELECT setval('{_quote(sequence)}', {int(highest)})"),
            )


def _twins() -> Iterator[Problem]:
    for table, (first, *more) in catalogue.twins():
        for name in more:
            drop = partial(_run, f"DROP INDEX {_quote(name)}")
            yield Problem(f"The index {name!r} of {table!r} does what {first!r} does.", drop)


def _references() -> Iterator[Problem]:
    """Rows that refer to rows which are not there. What such a value should be nobody but people know."""
    tables = catalogue.read()
    for name, table in sorted(tables.items()):
        for key in sorted(table.keys, key=str):
            if key.table not in tables or key.target not in tables[key.table].columns:
                continue
            column = _quote(key.column)
            there = f"SELECT 1 FROM {_quote(key.table)} AS t WHERE t.{_quote(key.target)} = r.{column}"
            dead = f"FROM {_quote(name)} AS r WHERE r.{column} IS NOT NULL AND NOT EXISTS ({there})"
            ((count,),) = _rows(f"SELECT count(*) {dead}")
            if count:
                some = _rows(f"SELECT DISTINCT r.{column} {dead} LIMIT {_EXAMPLES}")
                examples = ", ".join(str(row[0]) for row in some)
                rows = "1 row refers" if count == 1 else f"{count} rows refer"
                yield Problem(
                    f"In {name}.{key.column}, {rows} to what is not in {key.table!r}: {examples}. "
                    "Restore the missing rows, or clear these values."
                )
