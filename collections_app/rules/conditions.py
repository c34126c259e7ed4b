"""Conditions: resolved comparisons that know both of their meanings, in SQL and in memory.

Each node has ``sql`` (an expression that is true or not, where NULL counts as
not) and ``check`` (a bool for one record). Negation wraps the expression so
that NULL becomes false first; so the two can't differ on what is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.rules import values
from collections_app.rules.names import Const, Dynamic, Hop, Moment, Operand, Path
from collections_app.rules.values import Unfit, canonical, coerce, compare, is_empty

if TYPE_CHECKING:
    from collections_app.rules.language import RuleEnv

Row = Mapping[str, Any]
Bind = Callable[["RuleEnv"], Any]
POSITIVE = {"!=": "=", "!~": "~"}


class Related(Protocol):
    """Where in-memory checks find other rows."""

    def by_ids(self, collection_id: str, ids: Sequence[str]) -> list[Row]: ...
    def back(self, collection_id: str, field: Any, record_id: str) -> list[Row]: ...
    def all(self, collection_id: str) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter that is found out when the statement is bound."""

    bind: Bind


@dataclass(frozen=True, slots=True)
class Sql:
    """Text with its parameters, in order."""

    text: str
    params: tuple[Any, ...] = ()


def sql(template: str, *parts: Sql) -> Sql:
    """Fill ``{}`` in the template; the parameters follow the parts."""
    return Sql(template.format(*(part.text for part in parts)), tuple(p for part in parts for p in part.params))


def joined(glue: str, parts: Sequence[Sql]) -> Sql:
    return Sql(glue.join(part.text for part in parts), tuple(p for part in parts for p in part.params))


def negated(part: Sql) -> Sql:
    return sql(f"NOT COALESCE({{}}, {dialects.current().false})", part)


class Builder:
    """One compilation to SQL, for one shape of the request's values."""

    def __init__(self, env: RuleEnv) -> None:
        self.env = env
        self.dialect = dialects.current()
        self._aliases = 0

    def alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"

    def param(self, value: Any) -> Sql:
        return Sql(self.dialect.placeholder, (value,))

    def stored(self, kind: str, value: Any) -> Any:
        """A canonical value as the engine's own."""
        if kind == "datetime":
            return value.replace("T", " ") if self.dialect.name == "sqlite" else value + "+00:00"
        if kind == "decimal" and self.dialect.name == "postgresql" and isinstance(value, float):
            return Decimal(repr(value))
        if kind == "decimal" and isinstance(value, Decimal) and self.dialect.name == "sqlite":
            return float(value)
        return value


class Node(Protocol):
    def sql(self, builder: Builder, alias: str) -> Sql | bool: ...
    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool: ...


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Any, ...]

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        found = []
        for part in self.parts:
            one = part.sql(builder, alias)
            if one is False:
                return False
            if one is not True:
                found.append(one)
        return True if not found else found[0] if len(found) == 1 else sql("({})", joined(" AND ", found))

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        return all(part.check(row, env, related) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any_:
    parts: tuple[Any, ...]

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        found = []
        for part in self.parts:
            one = part.sql(builder, alias)
            if one is True:
                return True
            if one is not False:
                found.append(one)
        return False if not found else found[0] if len(found) == 1 else sql("({})", joined(" OR ", found))

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        return any(part.check(row, env, related) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Negation:
    part: Any

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        one = self.part.sql(builder, alias)
        return not one if isinstance(one, bool) else negated(one)

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        return not self.part.check(row, env, related)


@dataclass(frozen=True, slots=True)
class SomeRow:
    """``@collection``: some row of it for which all of these hold together."""

    hop: Hop
    parts: tuple[Any, ...]

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        row = builder.alias()
        inner = All(tuple(_At(part, row, alias) for part in self.parts)).sql(builder, alias)
        if inner is False:
            return False
        conditions = [] if inner is True else [inner]
        if (guard := _guard(self.hop, builder, row)) is not None:
            conditions.append(guard)
        return _exists([Sql(f"{quote(self.hop.collection.table)} AS {row}")], conditions)

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        assert related is not None
        for other in related.all(self.hop.collection.id):
            if _passes(self.hop, other, env) and all(part.check_at(row, other, env, related) for part in self.parts):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _At:
    """A comparison whose ``@collection`` side starts at a row that has been chosen."""

    part: Comparison
    row: str
    alias: str

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        return self.part.sql_at(builder, self.alias, self.row)


def _passes(hop: Hop, row: Row, env: RuleEnv) -> bool:
    return hop.guard is None or hop.guard.check(row, env)


def _guard(hop: Hop, builder: Builder, alias: str) -> Sql | None:
    if hop.guard is None:
        return None
    found = hop.guard.node.sql(builder, alias)
    return None if found is True else Sql("1 = 0") if found is False else found


def _exists(froms: Sequence[Sql], conditions: Sequence[Sql]) -> Sql:
    where = sql(" WHERE {}", joined(" AND ", conditions)) if conditions else Sql("")
    return sql("EXISTS (SELECT 1 FROM {}{})", joined(", ", froms), where)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands and an operator. ``any_of``: some element suffices."""

    left: Operand
    op: str
    any_of: bool
    right: Operand

    # -- what only the request decides ----------------------------------------
    def constant(self, env: RuleEnv) -> bool | None:
        """The result where no record is needed; None otherwise."""
        left, right = self.left, self.right
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Dynamic) and one.source == "auth" and not isinstance(other, (Const, Moment)):
                if is_empty(dynamic_value(one, env)):
                    # Nobody owns what has no owner.
                    return False
        if isinstance(left, Path) or isinstance(right, Path):
            return None
        kind = _common_kind(left, right)
        one, two = _plain(left, env, kind), _plain(right, env, kind)
        if isinstance(one, list) or isinstance(two, list):
            pairs = [(a, b) for a in _as_list(one) for b in _as_list(two)]
            return _over(self.op, self.any_of, [_safe(POSITIVE.get(self.op, self.op), a, b) for a, b in pairs])
        return _safe(self.op, one, two)

    def _sides(self, env: RuleEnv) -> tuple[Any, Any]:
        """Both sides, with what is no path replaced by its value: a canonical one, a list, or Unfit."""
        path = self.left if isinstance(self.left, Path) else self.right
        assert isinstance(path, Path)
        sides = []
        for side in (self.left, self.right):
            if isinstance(side, Path):
                sides.append(side)
            elif path.kind in ("json", "whole"):
                sides.append(_raw(side, env))
            else:
                sides.append(_value_for(side, env, path.kind))
        return sides[0], sides[1]

    # -- SQL --------------------------------------------------------------------
    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        return self.sql_at(builder, alias, None)

    def sql_at(self, builder: Builder, alias: str, row: str | None) -> Sql | bool:
        constant = self.constant(builder.env)
        if constant is not None:
            return constant
        left, right = self._sides(builder.env)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Unfit):
                return self._unfit(other, builder, alias, row)
            if isinstance(one, list):
                return self._against_list(one, other, one is left, builder, alias, row)
        source_left = _Source(left, builder, alias, row, self.right) if isinstance(left, Path) else None
        source_right = _Source(right, builder, alias, row, self.left) if isinstance(right, Path) else None
        kind = (left if isinstance(left, Path) else right).kind
        expr_left = source_left.expr if source_left else _parameter(left, self.left, kind, builder)
        expr_right = source_right.expr if source_right else _parameter(right, self.right, kind, builder)
        froms = [part for source in (source_left, source_right) if source for part in source.froms]
        wheres = [part for source in (source_left, source_right) if source for part in source.wheres]
        positive = POSITIVE.get(self.op, self.op)
        sides = (left, right)
        test = _test(positive, kind, expr_left, expr_right, sides, builder)
        multiple = any(isinstance(side, Path) and _is_multiple(side, row) for side in sides)
        if not multiple:
            return negated(test) if self.op in POSITIVE and not isinstance(test, bool) else (
                (not test if self.op in POSITIVE else test) if isinstance(test, bool) else test
            )
        return self._over_rows(test, froms, wheres, sides)

    def _over_rows(self, test: Sql | bool, froms: list[Sql], wheres: list[Sql], sides: tuple[Any, Any]) -> Sql | bool:
        """The quantifier over the rows of multi-valued sides."""

        def some(condition: Sql | bool) -> Sql | bool:
            if condition is False:
                return False
            return _exists(froms, wheres if condition is True else [*wheres, condition])

        def no(condition: Sql | bool) -> Sql | bool:
            found = some(condition)
            return not found if isinstance(found, bool) else sql("NOT {}", found)

        opposite = (not test) if isinstance(test, bool) else negated(test)
        if self.any_of:
            return some(opposite if self.op in POSITIVE else test)
        if None in sides and self.op in ("=", "!="):
            return no(opposite) if self.op == "=" else some(opposite)
        if self.op in POSITIVE:
            return no(test)
        first, second = some(True), no(opposite)
        if isinstance(second, bool):
            return first if second else False
        assert isinstance(first, Sql)
        return sql("({} AND {})", first, second)

    def _unfit(self, other: Any, builder: Builder, alias: str, row: str | None) -> Sql | bool:
        """A value that the field could never hold: unequal to all of them."""
        if not (isinstance(other, Path) and _is_multiple(other, row)):
            return self.op in POSITIVE
        source = _Source(other, builder, alias, row, None)
        return self._over_rows(False, source.froms, source.wheres, (other, 0))

    def _against_list(
        self, items: list[Any], other: Any, left: bool, builder: Builder, alias: str, row: str | None
    ) -> Sql | bool:
        """A list that came with the request: every element a comparison of its own."""
        if not items:
            return self.op in POSITIVE and not self.any_of
        parts = []
        for item in items:
            const = Const(item, str(item), 0)
            one = Comparison(const, self.op, self.any_of, self.right) if left else Comparison(
                self.left, self.op, self.any_of, const
            )
            parts.append(_At(one, row, alias) if row is not None else one)
        return (Any_ if self.any_of else All)(tuple(parts)).sql(builder, alias)

    # -- memory -------------------------------------------------------------------
    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        return self.check_at(row, None, env, related)

    def check_at(self, row: Row, other: Row | None, env: RuleEnv, related: Related | None) -> bool:
        constant = self.constant(env)
        if constant is not None:
            return constant
        left, right = self._sides(env)
        multiple = False
        lists = []
        for side in (left, right):
            if isinstance(side, Path):
                many = _is_multiple(side, "row" if other is not None else None)
                found = list(path_values(side, row, other, env, related))
                lists.append(found if many else found or [None])
                multiple = multiple or many
            elif isinstance(side, list):
                lists.append(side)
                multiple = True
            else:
                lists.append([side])
        kind = (left if isinstance(left, Path) else right).kind
        positive = POSITIVE.get(self.op, self.op)
        results = [_element(positive, kind, a, b, left, right) for a in lists[0] for b in lists[1]]
        if not multiple:
            return (not results[0]) if self.op in POSITIVE else results[0]
        if isinstance(left, list) or isinstance(right, list):
            return _nested(self.op, self.any_of, lists, isinstance(left, list), kind, left, right)
        if not self.any_of and self.op in ("=", "!=") and (left is None or right is None):
            return all(results) if self.op == "=" else not all(results)
        return _over(self.op, self.any_of, results)


def _nested(op: str, any_of: bool, lists: list[list[Any]], left_is_list: bool, kind: str, left: Any, right: Any) -> bool:
    """A list of the request against a path: the same quantifier over both."""
    items, others = (lists[0], lists[1]) if left_is_list else (lists[1], lists[0])
    if not items:
        return op in POSITIVE and not any_of
    positive = POSITIVE.get(op, op)
    path = right if left_is_list else left
    verdicts = []
    for item in items:
        results = [
            _element(positive, kind, item, o, 0, path) if left_is_list else _element(positive, kind, o, item, path, 0)
            for o in others
        ]
        many = isinstance(path, Path) and path.multiple and not path.row
        verdicts.append(_over(op, any_of, results) if many else (not results[0] if op in POSITIVE else results[0]))
    return any(verdicts) if any_of else all(verdicts)


def _over(op: str, any_of: bool, results: Sequence[bool]) -> bool:
    """The quantifier over elements; ``results`` are of the positive operator."""
    if any_of:
        return any(not result for result in results) if op in POSITIVE else any(results)
    if op in POSITIVE:
        return not any(results)
    return bool(results) and all(results)


def _is_multiple(path: Path, row: str | None) -> bool:
    """Whether the path has many values, once its ``@collection`` row, if any, is chosen."""
    if path.row and row is not None:
        rest = path.hops[1:]
        own = path.field.multiple and path.modifier != "length"
        return own or any(hop.kind != "one" for hop in rest)
    return path.multiple


# -- values of the request --------------------------------------------------------
def dynamic_value(operand: Dynamic, env: RuleEnv) -> Any:
    if operand.source == "method":
        return env.method
    if operand.source == "auth":
        value = env.principal.value(operand.name)
    else:
        given: Mapping[str, Any] = (env.body if operand.source == "body" else env.query) or {}
        if operand.modifier == "isset":
            return operand.name in given
        value = given.get(operand.name)
        if operand.modifier == "changed":
            return operand.name in given and value != (env.before or {}).get(operand.name)
    if operand.modifier == "length":
        return len(value) if isinstance(value, (str, list)) else 0
    if operand.modifier == "lower":
        return value.lower() if isinstance(value, str) else value
    return value


def _raw(operand: Operand, env: RuleEnv) -> Any:
    if isinstance(operand, Const):
        return None if is_empty(operand.value) else operand.value
    if isinstance(operand, Moment):
        found = values.macro(operand.name, env.now)
        assert found is not None
        return found[1]
    assert isinstance(operand, Dynamic)
    value = dynamic_value(operand, env)
    return None if is_empty(value) else value


def _value_for(operand: Operand, env: RuleEnv, kind: str) -> Any:
    value = _raw(operand, env)
    if isinstance(value, list):
        return [found for item in value if not isinstance(found := _coerced(kind, item, None), Unfit)]
    return _coerced(kind, value, operand.written if isinstance(operand, Const) else None)


def _coerced(kind: str, value: Any, written: str | None) -> Any:
    try:
        return coerce(kind, value, written=written)
    except Unfit as error:
        return error


def _common_kind(left: Operand, right: Operand) -> str:
    for side in (left, right):
        if isinstance(side, Moment):
            return side.kind
        if isinstance(side, Const) and not is_empty(side.value):
            return "bool" if isinstance(side.value, bool) else "text" if isinstance(side.value, str) else "number"
    return ""


def _plain(operand: Operand, env: RuleEnv, kind: str) -> Any:
    if kind:
        return _value_for(operand, env, kind)
    return _raw(operand, env)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _safe(op: str, left: Any, right: Any) -> bool:
    if isinstance(left, Unfit) or isinstance(right, Unfit):
        return op in POSITIVE
    if op in ("~", "!~") and not (isinstance(left, (str, type(None))) and isinstance(right, (str, type(None)))):
        return op == "!~"
    try:
        return compare(op, left, right)
    except TypeError:
        # Values of the request of unlike types: unequal, in no order.
        return op in POSITIVE


# -- paths in memory -----------------------------------------------------------------
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
            following += [found for found in _follow(hop, one, related) if _passes(hop, found, env)]
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
        yield len(value) if isinstance(value, list) or (isinstance(value, str) and path.field.value == "text") else 0
    elif path.field.multiple:
        for item in value or []:
            yield _lowered(path, item)
    elif path.kind in ("json", "whole"):
        yield value
    else:
        yield _lowered(path, canonical(path.kind, value))


def _lowered(path: Path, value: Any) -> Any:
    return value.lower() if path.modifier == "lower" and isinstance(value, str) else value


def _element(op: str, kind: str, left: Any, right: Any, left_side: Any, right_side: Any) -> bool:
    """One positive comparison of two elements."""
    if kind in ("json", "whole"):
        flip = not isinstance(left_side, Path)
        inside, given = (right, left) if flip else (left, right)
        if given is None:
            return op == "=" and is_empty(inside)
        if isinstance(given, bool) or isinstance(inside, bool):
            fits = isinstance(given, bool) and isinstance(inside, bool)
        else:
            fits = isinstance(inside, str) == isinstance(given, str) and isinstance(inside, (str, int, float))
        if not fits or inside == "":
            return False
        if op == "~" and not isinstance(given, str):
            return False
        return compare(op, given, inside) if flip else compare(op, inside, given)
    if isinstance(left, Unfit) or isinstance(right, Unfit):
        return False
    return compare(op, left, right)


# -- paths in SQL ----------------------------------------------------------------------
class _Source:
    """Where a path's values come from: an expression, and for several the rows to look through."""

    def __init__(self, path: Path, builder: Builder, alias: str, row: str | None, other: Operand | None) -> None:
        self.froms: list[Sql] = []
        self.wheres: list[Sql] = []
        hops = path.hops
        if path.row and row is not None:
            alias, hops = row, hops[1:]
        for hop in hops:
            alias = self._step(hop, builder, alias)
        expr = _field_expression(path, builder, alias, self, other)
        if not _is_multiple(path, row) and self.froms:
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
        if (guard := _guard(hop, builder, to)) is not None:
            self.wheres.append(guard)
        return to


def _field_expression(path: Path, builder: Builder, alias: str, source: _Source, other: Operand | None) -> Sql:
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
        place = sql(f"({column} #> {{}}::text[])", builder.param(list(path.json)))
        return sql("CASE jsonb_typeof({}) WHEN 'array' THEN jsonb_array_length({}) ELSE 0 END", place, place)
    return Sql(column)


def _parameter(value: Any, operand: Operand, kind: str, builder: Builder) -> Sql:
    """A value of the request or source as a parameter; late-bound where only its presence matters."""
    if isinstance(operand, Moment) and kind == "datetime":
        name = operand.name

        def at(env: RuleEnv) -> Any:
            found = values.macro(name, env.now)
            assert found is not None
            return builder.stored(kind, coerce(kind, found[1]))

        return Sql(builder.dialect.placeholder, (Slot(at),))
    if isinstance(operand, Dynamic) and operand.source == "auth" and kind == "text" and isinstance(value, str):
        late = operand
        return Sql(builder.dialect.placeholder, (Slot(lambda env: coerce("text", dynamic_value(late, env))),))
    if value is None or kind in ("json", "whole"):
        return Sql("NULL")
    return builder.param(builder.stored(kind, value))


def _empty(kind: str, expression: Sql) -> Sql:
    if kind == "text":
        return sql("({} IS NULL OR {} = '')", expression, expression)
    return sql("{} IS NULL", expression)


def _test(
    op: str, kind: str, left: Sql, right: Sql, sides: tuple[Any, Any], builder: Builder
) -> Sql | bool:
    """One positive comparison of two expressions."""
    if kind in ("json", "whole"):
        return _json_test(op, kind, left, right, sides, builder)
    constants = [not isinstance(side, Path) for side in sides]
    for index, expression in ((0, right), (1, left)):
        if constants[index] and sides[index] is None:
            return _empty(kind, expression) if op == "=" else False
    if op == "=":
        if any(constants):
            return sql("{} = {}", left, right)
        return sql("({} = {} OR ({} AND {}))", left, right, _empty(kind, left), _empty(kind, right))
    if op == "~":
        return _contains(left, right, sides, builder)
    guards = [sql("{} <> ''", e) for e, c in ((left, constants[0]), (right, constants[1])) if kind == "text" and not c]
    if kind == "text":
        left, right = Sql(builder.dialect.text(left.text), left.params), right
    return sql("({})", joined(" AND ", [*guards, sql(f"{{}} {op} {{}}", left, right)]))


def _contains(left: Sql, right: Sql, sides: tuple[Any, Any], builder: Builder) -> Sql:
    dialect = builder.dialect
    if not isinstance(sides[1], Path):
        (needle,) = right.params
        if isinstance(needle, Slot):
            late = needle.bind
            folded: Any = Slot(lambda env: dialect.contains_param(late(env)))
        else:
            folded = dialect.contains_param(needle)
        return Sql(dialect.contains(left.text, dialect.placeholder), (*left.params, folded))
    haystack, needle_sql = Sql(dialect.fold(left.text), left.params), Sql(dialect.fold(right.text), right.params)
    position = "instr({}, {}) > 0" if dialect.name == "sqlite" else "position({1} in {0}) > 0"
    found = Sql(
        position.format(haystack.text, needle_sql.text),
        haystack.params + needle_sql.params if dialect.name == "sqlite" else needle_sql.params + haystack.params,
    )
    return sql("({} <> '' AND {})", right, found)


def _json_test(op: str, kind: str, left: Sql, right: Sql, sides: tuple[Any, Any], builder: Builder) -> Sql | bool:
    flip = not isinstance(sides[0], Path)
    path, given = (sides[1], sides[0]) if flip else (sides[0], sides[1])
    column = right if flip else left
    sqlite = builder.dialect.name == "sqlite"
    if sqlite:
        where = builder.param("$" + "".join(f'."{key}"' for key in path.json))
        type_of = sql("json_type({}, {})", column, where)
        text = number = sql("json_extract({}, {})", column, where)
        types = {"text": "'text'", "number": "'integer', 'real'", "true": "'true'", "false": "'false'"}
    else:
        where = builder.param(list(path.json))
        type_of = sql("jsonb_typeof({} #> {}::text[])", column, where)
        text = sql("({} #>> {}::text[])", column, where)
        number = sql("CASE WHEN {} = 'number' THEN {}::double precision END", type_of, text)
        types = {"text": "'string'", "number": "'number'", "true": "'boolean'", "false": "'boolean'"}
    if given is None:
        return sql(f"({{}} IS NULL OR {{}} = 'null' OR ({{}} = {types['text']} AND {{}} = ''))",
                   type_of, type_of, type_of, text) if op == "=" else False  # fmt: skip
    if isinstance(given, bool):
        if op != "=":
            return False if op == "~" else _ordered_bools(op, given, flip, type_of, text, sqlite)
        if sqlite:
            return sql("{} = {}", type_of, builder.param("true" if given else "false"))
        return sql("({} = 'boolean' AND {} = {})", type_of, text, builder.param("true" if given else "false"))
    if isinstance(given, str):
        value = builder.param(given)
        if op == "~":
            inner = _contains(text, value, (path, given), builder) if not flip else _contains(
                value, text, (given, path), builder
            )
        else:
            ordered = Sql(builder.dialect.text(text.text), text.params)
            inner = sql(f"{{}} {op} {{}}", value, ordered) if flip else sql(f"{{}} {op} {{}}", ordered, value)
        return sql(f"({{}} = {types['text']} AND {{}} <> '' AND {{}})", type_of, text, inner)
    if not isinstance(given, (int, float)) or op == "~":
        return False
    value = builder.param(given)
    inner = sql(f"{{}} {op} {{}}", value, number) if flip else sql(f"{{}} {op} {{}}", number, value)
    return sql(f"({{}} IN ({types['number']}) AND {{}})", type_of, inner)


def _ordered_bools(op: str, given: bool, flip: bool, type_of: Sql, text: Sql, sqlite: bool) -> Sql | bool:
    """False before true, as Python has it."""
    fitting = [value for value in (False, True) if (compare(op, given, value) if flip else compare(op, value, given))]
    if not fitting:
        return False
    names = ", ".join(f"'{str(value).lower()}'" for value in fitting)
    if sqlite:
        return sql(f"{{}} IN ({names})", type_of)
    return sql(f"({{}} = 'boolean' AND {{}} IN ({names}))", type_of, text)
