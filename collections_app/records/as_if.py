"""Whether a rule holds for a record in a state that it is not in, or not in any more.

The log keeps records as they were before and after a change, and whoever reads it asks
of those states. A rule that needs the record alone is asked in memory. One that looks at
other rows is asked of the database, where the tables that the record is in are shadowed
by CTEs of the same names, which have it in the state in question.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from django.db import DatabaseError

from collections_app import dialects, event_history
from collections_app.dialects import quote
from collections_app.records.codec import Record
from collections_app.rules import Rule, RuleEnv
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot

_MAX_GONE = 50
_MAX_STATEMENTS = 500
# What SQLite makes of a parameter in a column of such values. Dates are text in columns of numbers; a
# cast would make numbers of them.
_AFFINITIES = {"number": "REAL", "integer": "INTEGER", "decimal": "NUMERIC", "bool": "NUMERIC", "datetime": "",
               "time": ""}  # fmt: skip
# A mistake in the question (syntax, limits of the engine, values out of range), no trouble of the server's.
_SQLITE_QUESTION = frozenset({1, 18, 20, 25})  # ERROR, TOOBIG, MISMATCH, RANGE
_POSTGRESQL_QUESTION = frozenset({"0A", "22", "42", "54"})

logger = logging.getLogger(__name__)


class State:
    """A record as it were stored, all else as it is now; and ``besides`` it other records, likewise."""

    def __init__(
        self, collection: CollectionDef, record: Mapping[str, Any], besides: Sequence[tuple[CollectionDef, Record]] = ()
    ) -> None:
        self.collection, self.record = collection, record
        self._besides = besides
        self._stored: list[Any] | None = None
        self._shadows: list[_Shadow] | None = None

    def satisfies(self, rule: Rule, env: RuleEnv) -> bool:
        """Whether the rule would hold. What can't be decided does not hold.

        Raises what a database raises that can't answer just now, and BadRequest for a
        question that takes too long.
        """
        if rule.local:
            return rule.check(self.record, env)
        try:
            return bool(dialects.current().rows(*self.question(rule, env)))
        except DatabaseError as fault:
            if not _is_about_the_question(fault):
                raise
            logger.warning("a rule of %s can't be decided and does not hold", self.collection.name, exc_info=True)
            return False

    def question(self, rule: Rule, env: RuleEnv) -> tuple[str, list[Any]]:
        """A statement that finds a row if the rule holds, and its parameters."""
        sql, params = rule.sql(env, "t")
        form = _form(self.collection)
        if self._stored is None or self._shadows is None:
            self._stored = form.params(self.record)
            self._shadows = list(self._all_shadows())
        shadows = [shadow for shadow in self._shadows if shadow.name in sql]
        given = [one for shadow in shadows for one in shadow.params]
        return form.statement(sql, shadows), [*given, *self._stored, *params]

    def _all_shadows(self) -> Iterator[_Shadow]:
        by_collection: dict[str, tuple[CollectionDef, list[Mapping[str, Any]]]] = {
            self.collection.id: (self.collection, [self.record])
        }
        for collection, record in self._besides:
            known = by_collection.setdefault(collection.id, (collection, []))[1]
            if all(other["id"] != record["id"] for other in known):
                known.append(record)
        for collection, records in by_collection.values():
            yield from _form(collection).shadows(records)


def satisfies(rule: Rule, collection: CollectionDef, record: Mapping[str, Any], env: RuleEnv) -> bool:
    """Whether it would hold, were the record stored like this and all else as it is now."""
    return State(collection, record).satisfies(rule, env)


def gone_with(collection: CollectionDef, record: Mapping[str, Any], snapshot: Snapshot) -> list[
    tuple[CollectionDef, Record]
]:  # fmt: skip
    """What the record referred to, directly or over others, and is not there any more: as it was at its end.

    A deleted record takes others with it, or out of its relations; whose record that was
    is still to be told of it.
    """
    found: dict[tuple[str, str], tuple[CollectionDef, Record]] = {}
    todo: list[tuple[CollectionDef, Mapping[str, Any]]] = [(collection, record)]
    asked: set[tuple[str, str]] = {(collection.id, record["id"])}
    while todo and len(asked) <= _MAX_GONE:
        source, one = todo.pop()
        for field in source.target_fields:
            target = snapshot.by_id.get(field.target)
            value = one.get(field.name)
            named = value if isinstance(value, list) else [value] if value else []
            ids = [item for item in named if target is not None and (target.id, item) not in asked][:_MAX_GONE]
            if target is None or not ids:
                continue
            asked.update((target.id, item) for item in ids)
            for last in _last_states(target, ids):
                found[target.id, last["id"]] = (target, last)
                todo.append((target, last))
    return list(found.values())


def _last_states(collection: CollectionDef, ids: Sequence[str]) -> Iterator[Record]:
    dialect = dialects.current()
    marks = ", ".join([dialect.placeholder] * len(ids))
    there = {row[0] for row in dialect.rows(f"SELECT id FROM {quote(collection.table)} WHERE id IN ({marks})", ids)}
    for record_id in ids:
        last = None if record_id in there else event_history.last_of(collection.id, record_id)
        if last is not None and last.type == "record.deleted" and last.revision == collection.revision:
            assert last.previous is not None
            yield last.previous


class _Shadow:
    """A CTE that stands for a table; ``name`` is the table's, quoted."""

    __slots__ = ("name", "params", "sql")

    def __init__(self, table: str, body: str, params: list[Any]) -> None:
        self.name = quote(table)
        # Once for all it would be made for each question, as a whole and without an index.
        self.sql = f"{self.name} AS NOT MATERIALIZED ({body})"
        self.params = params


class _Form:
    """How records of a collection are written into a question on this engine."""

    def __init__(self, collection: CollectionDef) -> None:
        self.collection = collection
        self._statements: dict[tuple[str, ...], str] = {}

    row: str  # FROM item: the record, as ``t``

    def params(self, record: Mapping[str, Any]) -> list[Any]:
        """The parameters of one record."""
        raise NotImplementedError

    def shadows(self, records: Sequence[Mapping[str, Any]]) -> Iterator[_Shadow]:
        """The collection's table and its tables of links, with these records as they are here."""
        raise NotImplementedError

    def statement(self, sql: str, shadows: Sequence[_Shadow]) -> str:
        key = (sql, *(shadow.sql for shadow in shadows))
        known = self._statements.get(key)
        if known is None:
            tables = f"WITH {', '.join(shadow.sql for shadow in shadows)} " if shadows else ""
            known = f"{tables}SELECT 1 FROM {self.row} AS t WHERE {sql}"
            if len(self._statements) >= _MAX_STATEMENTS:
                self._statements.clear()
            self._statements[key] = known
        return known


class _SQLiteForm(_Form):
    """Values one by one, each as its column would have it.

    The parts of a UNION ALL become parts of the query around, and use the table's indexes,
    only where each has a FROM and all have the same affinities.
    """

    def __init__(self, collection: CollectionDef) -> None:
        super().__init__(collection)
        fields = collection.stored_fields
        self._columns = ", ".join(
            quote(field.column) if _affinity(field) else f"+{quote(field.column)} AS {quote(field.column)}"
            for field in fields
        )
        self._values = ", ".join(_cast(field) for field in fields)
        self._dumps: list[tuple[str, Callable[[str, Any], Any]]] = [(field.name, field.kind.dump) for field in fields]
        named = ", ".join(f"{_cast(field)} AS {quote(field.column)}" for field in fields)
        self.row = f"(SELECT {named})"

    def params(self, record: Mapping[str, Any]) -> list[Any]:
        return [dump("sqlite", record.get(name)) for name, dump in self._dumps]

    def shadows(self, records: Sequence[Mapping[str, Any]]) -> Iterator[_Shadow]:
        ids = [record["id"] for record in records]
        marks = ", ".join("?" * len(ids))
        table = self.collection.table
        yield _Shadow(
            table,
            f"SELECT {self._columns} FROM main.{quote(table)} WHERE id NOT IN ({marks})"
            + f" UNION ALL SELECT {self._values} FROM (SELECT 1)" * len(records),
            ids + [value for record in records for value in self.params(record)],
        )
        for field in self.collection.through_fields:
            links = "SELECT CAST(? AS TEXT), CAST(value AS TEXT) FROM json_each(?)"
            yield _Shadow(
                field.through,
                f"SELECT source_id, target_id FROM main.{quote(field.through)} WHERE source_id NOT IN ({marks})"
                + f" UNION ALL {links}" * len(records),
                ids + [part for record in records for part in (record["id"], _list(record, field))],
            )


def _affinity(field: Field) -> str:
    return _AFFINITIES.get(field.value, "TEXT")


def _cast(field: Field) -> str:
    return f"CAST(? AS {_affinity(field)})" if _affinity(field) else "?"


class _PostgreSQLForm(_Form):
    """A record as one JSON, read by the type of its table. A CTE's own query sees the table that it stands for.

    The parts of a UNION ALL can be joined by the table's indexes only where none has a WHERE.
    """

    def __init__(self, collection: CollectionDef) -> None:
        super().__init__(collection)
        self._names = [field.name for field in collection.stored_fields]
        self.row = f"jsonb_populate_record(NULL::{quote(collection.table)}, %s::jsonb)"

    def params(self, record: Mapping[str, Any]) -> list[Any]:
        return [orjson.dumps({name: record.get(name) for name in self._names}).decode()]

    def shadows(self, records: Sequence[Mapping[str, Any]]) -> Iterator[_Shadow]:
        ids = [record["id"] for record in records]
        marks = ", ".join(["%s"] * len(ids))
        table = self.collection.table
        yield _Shadow(
            table,
            f'SELECT * FROM (SELECT *, true AS " is" FROM {quote(table)}'
            + f" UNION ALL SELECT *, false FROM {self.row}" * len(records)
            + f') AS " all" WHERE NOT " is" OR id NOT IN ({marks})',
            [value for record in records for value in self.params(record)] + ids,
        )
        for field in self.collection.through_fields:
            links = (
                ' UNION ALL SELECT %s::varchar COLLATE "C", value::varchar COLLATE "C", false'
                " FROM jsonb_array_elements_text(%s::jsonb)"
            )
            yield _Shadow(
                field.through,
                f'SELECT * FROM (SELECT source_id, target_id, true AS " is" FROM {quote(field.through)}'
                + links * len(records)
                + f') AS " all" WHERE NOT " is" OR source_id NOT IN ({marks})',
                [part for record in records for part in (record["id"], _list(record, field))] + ids,
            )


def _list(record: Mapping[str, Any], field: Field) -> str:
    return orjson.dumps(record.get(field.name) or []).decode()


def _form(collection: CollectionDef) -> _Form:
    vendor = dialects.current().name
    key = ("as if", vendor)
    if key not in collection.memo:
        collection.memo[key] = _SQLiteForm(collection) if vendor == "sqlite" else _PostgreSQLForm(collection)
    form: _Form = collection.memo[key]
    return form


def _is_about_the_question(fault: DatabaseError) -> bool:
    """Whether it would fail the same way again, at any time."""
    cause = fault.__cause__
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_QUESTION
    return (getattr(cause, "sqlstate", None) or "")[:2] in _POSTGRESQL_QUESTION
