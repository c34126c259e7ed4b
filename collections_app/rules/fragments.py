"""Pieces of SQL with their parameters, put together without counting placeholders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from collections_app import dialects

if TYPE_CHECKING:
    from collections_app.rules.env import RuleEnv

Bind = Callable[["RuleEnv"], Any]


class Slot(NamedTuple):
    """A parameter that is found out when the statement is bound."""

    bind: Bind


class Sql(NamedTuple):
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

    @property
    def crowded(self) -> bool:
        """Whether PostgreSQL should plan what follows by itself: it joins the tables of every
        EXISTS with all the others, and past a dozen the search for an order takes seconds."""
        return self.dialect.name == "postgresql" and self._aliases > 12

    def param(self, value: Any) -> Sql:
        return Sql(self.dialect.placeholder, (value,))

    def stored(self, kind: str, value: Any) -> Any:
        """A canonical value as the engine's own."""
        if kind == "datetime":
            return value.replace("T", " ") if self.dialect.name == "sqlite" else value + "+00:00"
        if kind == "integer" and self.dialect.name == "sqlite" and not -(2**63) <= value < 2**63:
            # It binds 64 bits; beyond them all numbers compare alike.
            return 1e19 if value > 0 else -1e19
        if kind == "integer" and self.dialect.name == "postgresql" and isinstance(value, float):
            return Decimal(value)
        if kind == "decimal" and isinstance(value, Decimal) and self.dialect.name == "sqlite":
            return float(value)
        return value
