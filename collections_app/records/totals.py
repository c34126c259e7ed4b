"""Exact totals, counted once for as long as no record changes.

A filtered count costs more than the page that it is about. Every change of a
record is a row of the event log, and every change of the schema moves its epoch,
so on SQLite the two, as the reading session sees them, name the state that was
counted. On PostgreSQL numbers of the log are given before the commit; there the
name of a state is what transactions can be seen (``pg_current_snapshot``), asked
in the very statement that counts. Where a transaction is under way nothing is
remembered: what it wrote may be rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collections_app import dialects
from collections_app.schema import registry
from core import database

MAX_TOTALS = 2000
MAX_CHARACTERS = 4000  # of a statement: nobody repeats a longer one

# What was counted: the statement and its parameters → the state's name and the total.
_totals: dict[tuple[Any, ...], tuple[Any, int]] = {}


def count(source: str, params: Sequence[Any]) -> int:
    """The number of rows of this ``FROM … WHERE …``."""
    with database.reading() as session:
        if session.transient:
            return int(_ask(f"SELECT count(*) {source}", params)[0])
        # 1, 1.0 and True are equal as keys, but not to a database.
        key = (source, *params, *map(type, params))
        known = _totals.get(key)
        if session.settled:
            state: Any = (registry.version_in(session), last_event(session))
            if known is not None and known[0] == state:
                return known[1]
            total = int(_ask(f"SELECT count(*) {source}", params)[0])
        else:
            if known is not None and known[0] == _ask("SELECT pg_current_snapshot()::text")[0]:
                return known[1]
            total, state = _ask(f"SELECT count(*), pg_current_snapshot()::text {source}", params)
        if len(source) <= MAX_CHARACTERS:
            if len(_totals) >= MAX_TOTALS:
                _totals.clear()
            _totals[key] = (state, total)
        return total


def count_settled(source: str, params: Sequence[Any]) -> int | None:
    """The same where the session reads one state of the database; None where the rows may be others by now."""
    with database.reading() as session:
        return count(source, params) if session.settled else None


def last_event(session: database.Session) -> int:
    """The number of the last event that there ever was, in the state that this session on SQLite reads."""
    number: int | None = session.memo.get("last event")
    if number is None:
        # Not the highest id in the table: old events are removed in time.
        found = dialects.current().rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        number = session.memo["last event"] = found[0][0] if found else 0
    return number


def _ask(sql: str, params: Sequence[Any] = ()) -> database.Row:
    return dialects.current().rows(sql, params)[0]
