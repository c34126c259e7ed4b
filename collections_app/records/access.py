"""Who may do what: the one place that decides.

Lists ask for a :func:`condition` that goes into their SQL; single records are
asked about with :func:`allows`. Admins pass every rule. An API key's scope comes
before all rules, an admin's key included.
"""

from __future__ import annotations

import re
from typing import Any

from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.records.codec import Record
from collections_app.rules import Rule, RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core.errors import DomainError, Forbidden, Unauthorized

Sql = tuple[str, list[Any]]
_READS = frozenset({"list", "view"})
_PARAMETER = re.compile(r"""@request\.query\.([^\s:()&|'"=!<>~?]+)""")


def rule(collection: CollectionDef, action: str, snapshot: Snapshot) -> Rule | None:
    """The compiled rule of ``list``, ``view``, ``create``, ``update`` or ``delete``; None is everyone."""
    key = ("rule", collection.id, action)
    if key not in snapshot.memo:
        source = collection.rules[f"{action}_rule"]
        snapshot.memo[key] = None if source is None else rules.compile_rule(source, collection, snapshot)
    found: Rule | None = snapshot.memo[key]
    return found


def parameters(collection: CollectionDef) -> frozenset[str]:
    """The query parameters that the collection's rules ask for: callers may send them."""
    if "parameters" not in collection.memo:
        rules_text = " ".join(source for source in collection.rules.values() if source)
        collection.memo["parameters"] = frozenset(_PARAMETER.findall(rules_text))
    return collection.memo["parameters"]


def verdict(collection: CollectionDef, action: str, env: RuleEnv, snapshot: Snapshot) -> bool | None:
    """True or False where the caller alone decides; None where it depends on the record."""
    if not within_scope(collection, action, env):
        return False
    if env.principal.is_admin:
        return True
    found = rule(collection, action, snapshot)
    return True if found is None else found.fold(env)


def within_scope(collection: CollectionDef, action: str, env: RuleEnv) -> bool:
    """Whether the API key, if that is what the caller sent, is for this at all."""
    scope = env.principal.scope
    return scope is None or scope.covers(collection.id, writing=action not in _READS)


def refusal(env: RuleEnv) -> DomainError:
    """What to answer a caller without the right: sign in, or no."""
    return Unauthorized() if env.principal.is_anonymous else Forbidden()


def condition(collection: CollectionDef, action: str, env: RuleEnv, snapshot: Snapshot, alias: str = "t") -> Sql | None:
    """SQL that holds for the records of this caller; None for all of them.

    Raises Unauthorized or Forbidden where no record could satisfy the rule.
    """
    if not within_scope(collection, action, env):
        raise refusal(env)
    found = None if env.principal.is_admin else rule(collection, action, snapshot)
    if found is None:
        return None
    sql, params = found.sql(env, alias)
    if sql == rules.ALWAYS:
        return None
    if sql == rules.NEVER:
        raise refusal(env)
    return sql, params


def allows(collection: CollectionDef, action: str, record: Record, env: RuleEnv, snapshot: Snapshot) -> bool:
    """Whether the rule holds for this record, which must be stored if the rule looks further than it."""
    constant = verdict(collection, action, env, snapshot)
    if constant is not None:
        return constant
    found = rule(collection, action, snapshot)
    assert found is not None
    if found.local:
        return found.check(record, env)
    sql, params = found.sql(env, "t")
    dialect = dialects.current()
    rows = dialect.rows(
        f"SELECT 1 FROM {quote(collection.table)} AS t WHERE t.id = {dialect.placeholder} AND ({sql})",
        [record["id"], *params],
    )
    return bool(rows)
