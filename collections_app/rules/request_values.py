"""Operands that need no record: literals, macros, and what the request says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collections_app.rules import values
from collections_app.rules.env import RuleEnv
from collections_app.rules.names import Const, Dynamic, Moment, Operand
from collections_app.rules.values import NEGATIONS, Unfit, coerce, compare, is_empty


def dynamic_value(operand: Dynamic, env: RuleEnv) -> Any:
    if operand.source == "method":
        return env.method
    if operand.source == "auth":
        value = env.principal.value(operand.name)
        if is_empty(value):
            # An absent caller stays one, whatever is asked of them.
            return None
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


def raw(operand: Operand, env: RuleEnv) -> Any:
    if isinstance(operand, Const):
        return None if is_empty(operand.value) else operand.value
    if isinstance(operand, Moment):
        found = values.macro(operand.name, env.moment())
        assert found is not None
        return found[1]
    assert isinstance(operand, Dynamic)
    value = dynamic_value(operand, env)
    return None if is_empty(value) else value


def value_for(operand: Operand, env: RuleEnv, kind: str) -> Any:
    if isinstance(operand, Const) and operand.kind == kind:
        return operand.value
    value = raw(operand, env)
    if isinstance(value, list):
        return [coerced(kind, item, None) for item in value]
    return coerced(kind, value, operand.written if isinstance(operand, Const) else None)


def coerced(kind: str, value: Any, written: str | None) -> Any:
    try:
        return coerce(kind, value, written=written)
    except Unfit as error:
        return error


def common_kind(left: Operand, right: Operand) -> str:
    for side in (left, right):
        if isinstance(side, Moment):
            return side.kind
        if isinstance(side, Const) and not is_empty(side.value):
            return "bool" if isinstance(side.value, bool) else "text" if isinstance(side.value, str) else "number"
    return ""


def plain(operand: Operand, env: RuleEnv, kind: str) -> Any:
    if kind:
        return value_for(operand, env, kind)
    return raw(operand, env)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def safe(op: str, left: Any, right: Any) -> bool:
    if isinstance(left, Unfit) or isinstance(right, Unfit):
        return op in NEGATIONS
    if op in ("~", "!~") and not (isinstance(left, (str, type(None))) and isinstance(right, (str, type(None)))):
        return op == "!~"
    try:
        return compare(op, left, right)
    except TypeError:
        # Values of the request of unlike types: unequal, in no order.
        return op in NEGATIONS
