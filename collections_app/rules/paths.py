"""Paths: from a record over relations to values, as SQL and in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from collections_app.dialects import quote
from collections_app.rules.env import RuleEnv
from collections_app.rules.fragments import Builder, Sql, joined, sql
from collections_app.rules.names import Hop, Path
from collections_app.rules.values import canonical

Row = Mapping[str, Any]


def is_multiple(path: Path, row: str | None) -> bool:
    """Whether the path has many values, once its ``@collection`` row, if any, is chosen."""
    if path.row and row is not None:
        rest = path.hops[1:]
        own = path.field.multiple and path.modifier != "length"
        return own or any(hop.kind != "one" for hop in rest)
    return path.multiple


class Related(Protocol):
    """Where in-memory checks find other rows."""

    def by_ids(self, collection_id: str, ids: Sequence[str]) -> list[Row]: ...
    def back(self, collection_id: str, field: Any, record_id: str) -> list[Row]: ...
    def all(self, collection_id: str) -> list[Row]: ...


def passes(hop: Hop, row: Row, env: RuleEnv, related: Related | None) -> bool:
    return hop.guard is None or hop.guard.check(row, env, related)


def guard_sql(hop: Hop, builder: Builder, alias: str) -> Sql | None:
    if hop.guard is None:
        return None
    found = hop.guard.node.sql(builder, alias)
    return None if found is True else Sql("1 = 0") if found is False else found


def path_values(path: Path, row: Row, other: Row | None, env: RuleEnv, related: Related | None) -> Iterator[Any]:
    """The canonical values that a path has for a record (raw ones for JSON)."""
    rows: list[Row] = [row]
    hops = path.hops
    if path.row and other is not None:
        rows, hops = [other], hops[1:]
    for hop in hops:
        assert related is not None, "this rule needs other rows"
        following: list[Row] = []
        for one in rows:
            following += [found for found in _follow(hop, one, related) if passes(hop, found, env, related)]
        rows = following
    for one in rows:
        yield from _field_values(path, one)


def _follow(hop: Hop, row: Row, related: Related) -> list[Row]:
    if hop.kind == "any":
        return related.all(hop.collection.id)
    assert hop.field is not None
    if hop.kind == "one":
        target = row[hop.field.name]
        return related.by_ids(hop.collection.id, [target]) if target else []
    if hop.kind == "many":
        return related.by_ids(hop.collection.id, row[hop.field.name])
    return related.back(hop.collection.id, hop.field, row["id"])


def _field_values(path: Path, row: Row) -> Iterator[Any]:
    value = row[path.field.name]
    if path.json:
        for key in path.json:
            value = value.get(key) if isinstance(value, dict) else None
    if path.modifier == "length":
        yield (len(value) if isinstance(value, list) or (isinstance(value, str) and path.field.value == "text") else 0)
    elif path.field.multiple:
        for item in value or []:
            yield _lowered(path, item)
    elif path.kind in ("json", "whole"):
        yield value
    else:
        yield _lowered(path, canonical(path.kind, value))


def _lowered(path: Path, value: Any) -> Any:
    return value.lower() if path.modifier == "lower" and isinstance(value, str) else value


class Source:
    """Where a path's values come from: an expression, and for several the rows to look through."""

    def __init__(self, path: Path, builder: Builder, alias: str, row: str | None) -> None:
        self.froms: list[Sql] = []
        self.wheres: list[Sql] = []
        hops = path.hops
        if path.row and row is not None:
            alias, hops = row, hops[1:]
        for hop in hops:
            alias = self._step(hop, builder, alias)
        expr = _field_expression(path, builder, alias, self)
        if not is_multiple(path, row) and self.froms:
            # One value: a sub-select by primary keys, which multiplies no rows.
            expr = sql("(SELECT {} FROM {} WHERE {})", expr, joined(", ", self.froms), joined(" AND ", self.wheres))
            self.froms, self.wheres = [], []
        self.expr = expr

    def _step(self, hop: Hop, builder: Builder, alias: str) -> str:
        to = builder.alias()
        table = quote(hop.collection.table)
        if hop.kind in ("many", "back_many"):
            assert hop.field is not None
            link = builder.alias()
            here, there = ("source_id", "target_id") if hop.kind == "many" else ("target_id", "source_id")
            self.froms.append(Sql(f"{quote(hop.field.through)} AS {link}"))
            self.wheres.append(Sql(f"{link}.{here} = {alias}.id"))
            self.wheres.append(Sql(f"{to}.id = {link}.{there}"))
        elif hop.kind == "one":
            assert hop.field is not None
            self.wheres.append(Sql(f"{to}.id = {alias}.{quote(hop.field.column)}"))
        elif hop.kind == "back":
            assert hop.field is not None
            self.wheres.append(Sql(f"{to}.{quote(hop.field.column)} = {alias}.id"))
        self.froms.append(Sql(f"{table} AS {to}"))
        if (guard := guard_sql(hop, builder, to)) is not None:
            self.wheres.append(guard)
        return to


def _field_expression(path: Path, builder: Builder, alias: str, source: Source) -> Sql:
    field, dialect = path.field, builder.dialect
    if field.storage == "name":
        return builder.param(path.collection.name)
    if field.storage == "through":
        link = builder.alias()
        if path.modifier == "length":
            return Sql(f"(SELECT count(*) FROM {quote(field.through)} AS {link} WHERE {link}.source_id = {alias}.id)")
        source.froms.append(Sql(f"{quote(field.through)} AS {link}"))
        source.wheres.append(Sql(f"{link}.source_id = {alias}.id"))
        return _lower(path, Sql(f"{link}.target_id"), builder)
    column = f"{alias}.{quote(field.column)}"
    if field.storage == "list":
        if path.modifier == "length":
            return Sql(f"COALESCE({dialect.list_length(column)}, 0)")
        item = builder.alias()
        unfolded, expression = dialect.each(column, item)
        source.froms.append(Sql(unfolded))
        return _lower(path, Sql(expression), builder)
    if path.field.value in ("json", "geo"):
        return _json_expression(path, column, builder)
    if path.modifier == "length":
        return Sql(f"COALESCE({dialect.length(column)}, 0)")
    return _lower(path, Sql(column), builder)


def _lower(path: Path, expression: Sql, builder: Builder) -> Sql:
    return Sql(builder.dialect.lower(expression.text), expression.params) if path.modifier == "lower" else expression


def json_place(column: Sql, path: Path, builder: Builder) -> Sql:
    """PostgreSQL: the value under the keys. A key is never a place in a list, as on SQLite and in memory."""
    place = column
    for key in path.json:
        place = sql("({} -> {}::text)", place, builder.param(key))
    return place


def _json_expression(path: Path, column: str, builder: Builder) -> Sql:
    """For paths into JSON the place itself; what type of value stands there is asked by the test."""
    sqlite = builder.dialect.name == "sqlite"
    if path.field.value == "geo" and path.json:
        key = path.json[0]
        return Sql(f"json_extract({column}, '$.{key}')" if sqlite else f"({column} ->> '{key}')::double precision")
    if path.modifier == "length":
        if sqlite:
            where = builder.param("$" + "".join(f'."{key}"' for key in path.json))
            return sql(
                f"CASE json_type({column}, {{}}) WHEN 'array' THEN json_array_length({column}, {{}}) ELSE 0 END",
                where, where,
            )  # fmt: skip
        place = json_place(Sql(column), path, builder)
        return sql("CASE jsonb_typeof({}) WHEN 'array' THEN jsonb_array_length({}) ELSE 0 END", place, place)
    return Sql(column)
