"""Layer two: the database itself is asked whether a query reads only what layer one found that it reads.

Both engines decide that when they prepare a statement, so one look at it is enough for as
long as the tables stay as they are. On SQLite an authorizer allows reading the very columns,
and the functions below. On PostgreSQL a role is made that may read nothing else, and goes
again before anybody has seen it; where our own role may not make one, layer one stands alone.

Whatever then runs, runs on a connection that can't write, for a limited time (``core.database``).
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from typing import Any

from django.db import Error, connection, transaction

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.sql_views.checking import Checked
from collections_app.sql_views.grammar import refusal
from core import database

logger = logging.getLogger(__name__)

_FUNCTIONS = frozenset(
    {"count", "sum", "avg", "min", "max", "total", "group_concat", "row_number", "rank", "dense_rank", "lag", "lead",
     "first_value", "last_value", "coalesce", "ifnull", "nullif", "iif", "abs", "round", "ceil", "ceiling", "floor",
     "sign", "sqrt", "upper", "lower", "trim", "ltrim", "rtrim", "length", "substr", "substring", "instr", "like",
     "date", "datetime", "time", "julianday", "unixepoch", "strftime", "current_timestamp",
     "current_date"}
)  # fmt: skip
_INSUFFICIENT_PRIVILEGE = "42501"
_MOST_TOLD = 200  # characters: a number may have thousands of digits


def verify(text: str, checked: Checked) -> None:
    """ValidationFailed where the database refuses the query, or finds that it reads anything else."""
    statement = f"EXPLAIN SELECT * FROM {checked.sql} AS t"
    if connection.vendor == "sqlite":
        _by_authorizer(text, checked, statement)
    else:
        _by_role(text, checked, statement)


def _by_authorizer(text: str, checked: Checked, statement: str) -> None:
    refused: list[str] = []

    def decide(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        columns = checked.reads.get(first or "")
        if action == sqlite3.SQLITE_READ and columns is not None and (not second or second in columns):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        refused.append(f"{action} {first} {second}")
        return sqlite3.SQLITE_DENY

    with database.reading() as session:
        raw: sqlite3.Connection = session.wrapper.connection
        raw.set_authorizer(decide)
        try:
            raw.execute(statement).fetchone()
        except sqlite3.Error as error:
            if refused:
                logger.warning("A view would have read what it may not: %s", refused[0])
                raise refusal(text, "This query can't be used in a view.") from error
            raise refusal(text, f"The database can't run this: {error}.") from error
        finally:
            raw.set_authorizer(None)


class _Done(Exception):
    """The look is over; what was made for it goes."""


def _by_role(text: str, checked: Checked, statement: str) -> None:
    execute = dialects.current().execute
    try:
        with transaction.atomic():
            if _take_role(checked):
                logger.debug("Views are checked by a role.")
            execute(statement)
            raise _Done
    except _Done:
        return
    except Error as error:
        cause = error.__cause__
        diag = getattr(cause, "diag", None)
        if getattr(cause, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
            logger.warning("A view would have read what it may not: %s", error)
            raise refusal(text, "This query can't be used in a view.") from error
        told = (getattr(diag, "message_primary", None) or "an error")[:_MOST_TOLD]
        raise refusal(text, f"The database can't run this: {told}.") from error


def _take_role(checked: Checked) -> bool:
    """Be nobody who may do anything but read these columns, until the transaction ends."""
    execute = dialects.current().execute
    role = quote(f"view_{secrets.token_hex(8)}")
    try:
        with transaction.atomic():
            execute(f"CREATE ROLE {role} NOLOGIN NOINHERIT")
            schema = execute("SELECT current_schema()").fetchone()[0]
            execute(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {role}")
            for table, columns in checked.reads.items():
                execute(f"GRANT SELECT ({', '.join(map(quote, sorted(columns)))}) ON {quote(table)} TO {role}")
            execute(f"SET LOCAL ROLE {role}")
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
            return False
        raise
    return True
