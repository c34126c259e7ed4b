"""What differs between SQLite and PostgreSQL, in one place.

The record engine writes its own SQL and runs it below Django (``core.database``):
same connection, same transaction, none of the ORM's cost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from core import database


def fold(text: str) -> str:
    """Case folding for "contains" and search, the same in Python and both engines.

    Upper-casing, not lower-casing: it does not depend on the neighbours of a
    letter (Greek final sigma does when lowered), so a part of a text folds to a
    part of the folded text.
    """
    return text.upper()


def quote(name: str) -> str:
    """An SQL identifier; names come from a checked alphabet, quotes are doubled anyway."""
    return '"' + name.replace('"', '""') + '"'


def like_escape(text: str) -> str:
    """Text as a literal inside a LIKE pattern with ``ESCAPE '\\'``."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


class SQLite:
    name = "sqlite"
    placeholder = "?"
    true, false = "1", "0"
    random = "random()"

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Run one statement on Django's own connection; answers the cursor."""
        return database.execute(sql, params)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Any:
        return database.executemany(sql, rows)

    def rows(self, sql: str, params: Sequence[Any] = (), *, keyed: bool = False) -> list[database.Row]:
        """All rows of a SELECT; a reading session's, where one is under way."""
        return database.rows(sql, params, keyed=keyed)

    def fold(self, sql: str) -> str:
        return f"cms_fold({sql})"

    def lower(self, sql: str) -> str:
        return f"cms_lower({sql})"

    def contains(self, sql: str, folded: str) -> str:
        """``folded`` is the SQL of an already folded needle (a placeholder, say)."""
        return f"instr(cms_fold({sql}), {folded}) > 0"

    def contains_param(self, needle: str) -> str:
        return fold(needle)

    def length(self, sql: str) -> str:
        return f"length({sql})"

    def each(self, sql: str, alias: str) -> tuple[str, str]:
        """FROM item and value expression that unfold a JSON array of texts."""
        return f"json_each({sql}) AS {alias}", f"{alias}.value"

    def list_length(self, sql: str) -> str:
        return f"json_array_length({sql})"

    def holds_any(self, sql: str, count: int) -> str:
        """Whether a JSON value is a list with one of so many texts in it."""
        marks = ", ".join(["?"] * count)
        held = f"SELECT 1 FROM json_each({sql}) AS j WHERE j.type = 'text' AND j.value IN ({marks})"
        return f"(json_type({sql}) = 'array' AND EXISTS ({held}))"

    def text(self, sql: str) -> str:
        """Text that compares by code point."""
        return sql

    def raw(self, sql: str) -> str:
        """A selected column as it is stored: Django converts date-times by the declared type
        of a column, in Python and at a price; an expression has none."""
        return f"+{sql}"

    def moment(self, value: datetime) -> Any:
        """A parameter that compares with a date-time column (Django's own storage format)."""
        return str(value.replace(tzinfo=None))


class PostgreSQL(SQLite):
    name = "postgresql"
    placeholder = "%s"
    true, false = "TRUE", "FALSE"

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any:
        # Without parameters a % in the text is just that.
        return database.execute(sql, params or None)

    def rows(self, sql: str, params: Sequence[Any] = (), *, keyed: bool = False) -> list[database.Row]:
        return database.rows(sql, params or None, keyed=keyed)

    def fold(self, sql: str) -> str:
        return f'upper({sql} COLLATE "und-x-icu")'

    def lower(self, sql: str) -> str:
        # Back to "C", or it could not be compared with anything that says "C" itself.
        return f'lower({sql} COLLATE "und-x-icu") COLLATE "C"'

    def contains(self, sql: str, folded: str) -> str:
        return f"{self.fold(sql)} LIKE {folded}"

    def contains_param(self, needle: str) -> str:
        return f"%{like_escape(fold(needle))}%"

    def each(self, sql: str, alias: str) -> tuple[str, str]:
        return f"jsonb_array_elements_text({sql}) AS {alias}(value)", f"{alias}.value"

    def list_length(self, sql: str) -> str:
        return f"jsonb_array_length({sql})"

    def holds_any(self, sql: str, count: int) -> str:
        return f"(jsonb_typeof({sql}) = 'array' AND {sql} ?| ARRAY[{', '.join(['%s'] * count)}]::text[])"

    def text(self, sql: str) -> str:
        return f'{sql} COLLATE "C"'

    def raw(self, sql: str) -> str:
        return sql

    def moment(self, value: datetime) -> Any:
        return value


_DIALECTS = {"sqlite": SQLite(), "postgresql": PostgreSQL()}


@cache
def current() -> SQLite:
    """The dialect of the default database, the same as long as the process lives."""
    return _DIALECTS[connections[DEFAULT_DB_ALIAS].vendor]


def prepare_sqlite_connection(sender: Any, connection: Any, **kwargs: Any) -> None:
    """Receiver of ``connection_created``: functions and pragmas of our SQLite connections."""
    if connection.vendor != "sqlite":
        return
    raw: sqlite3.Connection = connection.connection
    database.never_on_budget.add("cms_fold(")  # it looks into each text, in Python
    raw.create_function("cms_fold", 1, lambda s: None if s is None else fold(str(s)), deterministic=True)
    raw.create_function("cms_lower", 1, lambda s: None if s is None else str(s).lower(), deterministic=True)
