"""Conditions: resolved comparisons that know both of their meanings, in SQL and in memory.

Each node has ``sql`` (an expression that is true or not, where NULL counts as
not) and ``check`` (a bool for one record). Negation wraps the expression so
that NULL becomes false first; so the two can't differ on what is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from collections_app.dialects import quote
from collections_app.rules.env import RuleEnv
from collections_app.rules.fragments import Builder, Sql, joined, negated, sql
from collections_app.rules.names import Const, Dynamic, Hop, Moment, Operand, Path
from collections_app.rules.operators import element, parameter, sql_test
from collections_app.rules.paths import Related, Row, Source, guard_sql, is_multiple, passes, path_values
from collections_app.rules.request_values import (
    as_list,
    common_kind,
    dynamic_value,
    plain,
    raw,
    safe,
    value_for,
)
from collections_app.rules.values import NEGATIONS, Unfit, is_empty
from core import clock


class Node(Protocol):
    def sql(self, builder: Builder, alias: str) -> Sql | bool: ...
    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool: ...


class All(NamedTuple):
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


class Any_(NamedTuple):
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


class Negation(NamedTuple):
    part: Any

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        # Moved inwards to what is negated: each nested NOT COALESCE(…) costs the
        # parser of SQLite five of its hundred levels.
        part = self.part
        if isinstance(part, Negation):
            return part.part.sql(builder, alias)
        if isinstance(part, (All, Any_)):
            other = Any_ if isinstance(part, All) else All
            return other(tuple(Negation(one) for one in part.parts)).sql(builder, alias)
        one = part.sql(builder, alias)
        return not one if isinstance(one, bool) else negated(one)

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        return not self.part.check(row, env, related)


class SomeRow(NamedTuple):
    """``@collection``: some row of it for which all of these hold together."""

    hop: Hop
    parts: tuple[Any, ...]

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        row = builder.alias()
        inner = All(tuple(_At(part, row, alias) for part in self.parts)).sql(builder, alias)
        if inner is False:
            return False
        conditions = [] if inner is True else [inner]
        if (guard := guard_sql(self.hop, builder, row)) is not None:
            conditions.append(guard)
        return _exists([Sql(f"{quote(self.hop.collection.table)} AS {row}")], conditions, builder)

    def check(self, row: Row, env: RuleEnv, related: Related | None) -> bool:
        assert related is not None
        for other in related.all(self.hop.collection.id):
            if passes(self.hop, other, env, related) and all(
                part.check_at(row, other, env, related) for part in self.parts
            ):
                return True
        return False


class _At(NamedTuple):
    """A comparison whose ``@collection`` side starts at a row that has been chosen."""

    part: Comparison
    row: str
    alias: str

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        return self.part.sql_at(builder, self.alias, self.row)


class _Unequal(NamedTuple):
    """An element of the request's list that no element of the path could equal."""

    part: Comparison
    other: Any
    row: str | None
    alias: str

    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        return self.part._unfit(self.other, builder, self.alias, self.row)


class Comparison(NamedTuple):
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
            if isinstance(other, (Const, Moment)) or not isinstance(one, Dynamic) or one.source != "auth":
                continue
            if is_empty(dynamic_value(one, env)):
                # Nobody owns what has no owner.
                return False
        if isinstance(left, Path) or isinstance(right, Path):
            return None
        kind = common_kind(left, right)
        one, two = plain(left, env, kind), plain(right, env, kind)
        if isinstance(one, list) or isinstance(two, list):
            pairs = [(a, b) for a in as_list(one) for b in as_list(two)]
            return _over(self.op, self.any_of, [safe(NEGATIONS.get(self.op, self.op), a, b) for a, b in pairs])
        return safe(self.op, one, two)

    def sides(self, env: RuleEnv) -> tuple[Any, Any]:
        """Both sides, with what is no path replaced by its value: a canonical one, a list, or Unfit."""
        path = self.left if isinstance(self.left, Path) else self.right
        assert isinstance(path, Path)
        sides: list[Any] = []
        for side in (self.left, self.right):
            if isinstance(side, Path):
                sides.append(side)
            elif path.kind in ("json", "whole"):
                value = raw(side, env)
                sides.append(clock.isoformat(value) if isinstance(value, datetime) else value)
            else:
                sides.append(value_for(side, env, path.kind))
        return sides[0], sides[1]

    # -- SQL --------------------------------------------------------------------
    def sql(self, builder: Builder, alias: str) -> Sql | bool:
        return self.sql_at(builder, alias, None)

    def sql_at(self, builder: Builder, alias: str, row: str | None) -> Sql | bool:
        constant = self.constant(builder.env)
        if constant is not None:
            return constant
        left, right = self.sides(builder.env)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Unfit):
                return self._unfit(other, builder, alias, row)
            if isinstance(one, list):
                return self._against_list(one, other, one is left, builder, alias, row)
        source_left = Source(left, builder, alias, row) if isinstance(left, Path) else None
        source_right = Source(right, builder, alias, row) if isinstance(right, Path) else None
        kind = (left if isinstance(left, Path) else right).kind
        expr_left = source_left.expr if source_left else parameter(left, self.left, kind, builder)
        expr_right = source_right.expr if source_right else parameter(right, self.right, kind, builder)
        froms = [part for source in (source_left, source_right) if source for part in source.froms]
        wheres = [part for source in (source_left, source_right) if source for part in source.wheres]
        if isinstance(left, Path) and isinstance(right, Path) and left.kind != right.kind:
            expr_left, expr_right = (
                sql(f"CAST({{}} AS {'REAL' if builder.dialect.name == 'sqlite' else 'double precision'})", side)
                for side in (expr_left, expr_right)
            )
        positive = NEGATIONS.get(self.op, self.op)
        sides = (left, right)
        test = sql_test(positive, kind, expr_left, expr_right, sides, builder)
        multiple = any(isinstance(side, Path) and is_multiple(side, row) for side in sides)
        if not multiple:
            return (
                negated(test)
                if self.op in NEGATIONS and not isinstance(test, bool)
                else ((not test if self.op in NEGATIONS else test) if isinstance(test, bool) else test)
            )
        return self._over_rows(test, froms, wheres, sides, builder)

    def _over_rows(
        self, test: Sql | bool, froms: list[Sql], wheres: list[Sql], sides: tuple[Any, Any], builder: Builder
    ) -> Sql | bool:
        """The quantifier over the rows of multi-valued sides."""

        def some(condition: Sql | bool) -> Sql | bool:
            if condition is False:
                return False
            return _exists(froms, wheres if condition is True else [*wheres, condition], builder)

        def no(condition: Sql | bool) -> Sql | bool:
            found = some(condition)
            return not found if isinstance(found, bool) else sql("NOT {}", found)

        opposite = (not test) if isinstance(test, bool) else negated(test)
        if self.any_of:
            return some(opposite if self.op in NEGATIONS else test)
        if None in sides and self.op in ("=", "!="):
            return no(opposite) if self.op == "=" else some(opposite)
        if self.op in NEGATIONS:
            return no(test)
        first, second = some(True), no(opposite)
        if isinstance(second, bool):
            return first if second else False
        assert isinstance(first, Sql)
        return sql("({} AND {})", first, second)

    def _unfit(self, other: Any, builder: Builder, alias: str, row: str | None) -> Sql | bool:
        """A value that the field could never hold: unequal to all of them."""
        if not (isinstance(other, Path) and is_multiple(other, row)):
            return self.op in NEGATIONS
        source = Source(other, builder, alias, row)
        return self._over_rows(False, source.froms, source.wheres, (other, 0), builder)

    def _against_list(
        self, items: list[Any], other: Any, left: bool, builder: Builder, alias: str, row: str | None
    ) -> Sql | bool:
        """A list that came with the request: every element a comparison of its own."""
        if not items:
            return self.op in NEGATIONS and not self.any_of
        parts: list[Any] = []
        for item in items:
            if isinstance(item, Unfit):
                parts.append(_Unequal(self, other, row, alias))
                continue
            const = Const(item, str(item), 0)
            one = (
                Comparison(const, self.op, self.any_of, self.right)
                if left
                else Comparison(self.left, self.op, self.any_of, const)
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
        left, right = self.sides(env)
        return self.holds(left, right, row, other, env, related)

    def holds(self, left: Any, right: Any, row: Row, other: Row | None, env: RuleEnv, related: Related | None) -> bool:
        """Whether it holds for the record; ``left`` and ``right`` are the request's :meth:`sides`."""
        multiple = False
        lists = []
        for side in (left, right):
            if isinstance(side, Path):
                many = is_multiple(side, "row" if other is not None else None)
                found = list(path_values(side, row, other, env, related))
                lists.append(found if many else found or [None])
                multiple = multiple or many
            elif isinstance(side, list):
                lists.append(side)
                multiple = True
            else:
                lists.append([side])
        kind = (left if isinstance(left, Path) else right).kind
        if isinstance(left, Path) and isinstance(right, Path) and left.kind != right.kind:
            lists = [[None if value is None else float(value) for value in found] for found in lists]
        positive = NEGATIONS.get(self.op, self.op)
        results = [element(positive, kind, a, b, left, right) for a in lists[0] for b in lists[1]]
        if not multiple:
            return (not results[0]) if self.op in NEGATIONS else results[0]
        if isinstance(left, list) or isinstance(right, list):
            return _nested(self.op, self.any_of, lists, isinstance(left, list), kind, left, right)
        if not self.any_of and self.op in ("=", "!=") and (left is None or right is None):
            return all(results) if self.op == "=" else not all(results)
        return _over(self.op, self.any_of, results)


def _nested(
    op: str, any_of: bool, lists: list[list[Any]], left_is_list: bool, kind: str, left: Any, right: Any
) -> bool:
    """A list of the request against a path: the same quantifier over both."""
    items, others = (lists[0], lists[1]) if left_is_list else (lists[1], lists[0])
    if not items:
        return op in NEGATIONS and not any_of
    positive = NEGATIONS.get(op, op)
    path = right if left_is_list else left
    verdicts = []
    for item in items:
        results = [
            element(positive, kind, item, o, 0, path) if left_is_list else element(positive, kind, o, item, path, 0)
            for o in others
        ]
        many = isinstance(path, Path) and path.multiple and not path.row
        verdicts.append(_over(op, any_of, results) if many else (not results[0] if op in NEGATIONS else results[0]))
    return any(verdicts) if any_of else all(verdicts)


def _over(op: str, any_of: bool, results: Sequence[bool]) -> bool:
    """The quantifier over elements; ``results`` are of the positive operator."""
    if any_of:
        return any(not result for result in results) if op in NEGATIONS else any(results)
    if op in NEGATIONS:
        return not any(results)
    return bool(results) and all(results)


def _exists(froms: Sequence[Sql], conditions: Sequence[Sql], builder: Builder) -> Sql:
    where = sql(" WHERE {}", joined(" AND ", conditions)) if conditions else Sql("")
    found = sql("EXISTS (SELECT 1 FROM {}{})", joined(", ", froms), where)
    return sql("COALESCE({}, FALSE)", found) if builder.crowded else found
