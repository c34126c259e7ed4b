"""A rule made ready for one caller, to be asked of many records in memory.

What only the request decides is worked out once, and what is left is a function of the
record. It says what ``Rule.check`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from collections_app.rules.conditions import All, Any_, Comparison, Negation, Node
from collections_app.rules.env import RuleEnv
from collections_app.rules.language import Rule
from collections_app.rules.names import Path

Decision = Callable[[Mapping[str, Any]], bool]


def prepared(rule: Rule, env: RuleEnv) -> Decision:
    """For rules that are ``local``; good for as long as ``env`` is, for ever if the rule is ``timeless``."""
    assert rule.local
    return _decision(rule.node, env)


def _decision(node: Node, env: RuleEnv) -> Decision:
    if isinstance(node, Comparison):
        return _of_comparison(node, env)
    if isinstance(node, Negation):
        part = _decision(node.part, env)
        return lambda record: not part(record)
    if isinstance(node, (All, Any_)):
        parts = [_decision(part, env) for part in node.parts]
        if len(parts) == 2:
            one, two = parts
            if isinstance(node, All):
                return lambda record: one(record) and two(record)
            return lambda record: one(record) or two(record)
        if isinstance(node, All):
            return lambda record: all(part(record) for part in parts)
        return lambda record: any(part(record) for part in parts)
    return lambda record: node.check(record, env, None)


def _of_comparison(node: Comparison, env: RuleEnv) -> Decision:
    constant = node.constant(env)
    if constant is not None:
        return lambda record: constant
    left, right = node.sides(env)
    path, value = (left, right) if isinstance(left, Path) else (right, left)
    if (
        node.op in ("=", "!=") and path.kind == "text" and not (path.field.multiple or path.modifier or path.json)
        and isinstance(value, str) and value
    ):  # fmt: skip
        # Whose record it is: most rules are about that.
        name = path.field.name
        if node.op == "=":
            return lambda record: bool(record[name] == value)
        return lambda record: bool(record[name] != value)
    return lambda record: node.holds(left, right, record, None, env, None)
