"""One positive comparison (``= < <= > >= ~``) of two elements, as SQL and in memory."""

from __future__ import annotations

from typing import Any

from collections_app.rules import values
from collections_app.rules.env import RuleEnv
from collections_app.rules.fragments import Builder, Slot, Sql, joined, sql
from collections_app.rules.names import Dynamic, Moment, Operand, Path
from collections_app.rules.paths import json_place
from collections_app.rules.request_values import dynamic_value
from collections_app.rules.values import Unfit, coerce, compare, is_empty


def element(op: str, kind: str, left: Any, right: Any, left_side: Any, right_side: Any) -> bool:
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
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            given, inside = float(given), float(inside)
        return compare(op, given, inside) if flip else compare(op, inside, given)
    if isinstance(left, Unfit) or isinstance(right, Unfit):
        return False
    return compare(op, left, right)


def parameter(value: Any, operand: Operand, kind: str, builder: Builder) -> Sql:
    """A value of the request or source as a parameter; late-bound where only its presence matters."""
    if isinstance(operand, Moment) and kind == "datetime":
        name = operand.name

        def at(env: RuleEnv) -> Any:
            found = values.macro(name, env.moment())
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


def sql_test(op: str, kind: str, left: Sql, right: Sql, sides: tuple[Any, Any], builder: Builder) -> Sql | bool:
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
    haystack, needle_sql = (
        Sql(dialect.fold(left.text), left.params),
        Sql(dialect.fold(right.text), right.params),
    )
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
        text = sql("json_extract({}, {})", column, where)
        number = sql("CAST({} AS REAL)", text)
        types = {"text": "'text'", "number": "'integer', 'real'", "true": "'true'", "false": "'false'"}
    else:
        place = json_place(column, path, builder)
        type_of = sql("jsonb_typeof({})", place)
        text = Sql(f"({place.text} #>> '{{}}')", place.params)
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
            inner = (
                _contains(text, value, (path, given), builder)
                if not flip
                else _contains(value, text, (given, path), builder)
            )
        else:
            ordered = Sql(builder.dialect.text(text.text), text.params)
            inner = sql(f"{{}} {op} {{}}", value, ordered) if flip else sql(f"{{}} {op} {{}}", ordered, value)
        return sql(f"({{}} = {types['text']} AND {{}} <> '' AND {{}})", type_of, text, inner)
    if not isinstance(given, (int, float)) or op == "~":
        return False
    value = builder.param(float(given))
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
