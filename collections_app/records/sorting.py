"""The order of a list, and the cursor that continues it at any depth.

Empty values come first when ascending and last when descending, on both
engines. The id ends every order, so no two records are ever equal in it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.fields.temporal import parse_moment, parse_time_of_day
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import checking, definitions
from core.errors import BadRequest

DEFAULT = "-created,-id"
MAX_KEYS = 8
_NEVER_EMPTY = frozenset({"id", "created", "updated"})


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key: SQL over the alias ``t``, and what its values are."""

    sql: str
    params: tuple[Any, ...]
    descending: bool
    value: str
    nullable: bool


class Order:
    """A checked ``sort=``. ``random`` orders can't be continued by a cursor; one that is
    ``for_all`` is the same for all callers who may sort by it."""

    def __init__(self, keys: list[Key], text: str, *, random: bool = False, for_all: bool = True) -> None:
        self.keys = keys
        self.random = random
        self.for_all = for_all
        self._text = text

    @property
    def digest(self) -> str:
        """Names the order, so that a cursor isn't taken for another list's."""
        return hashlib.blake2b(self._text.encode(), digest_size=4).hexdigest()

    def sql(self, *, opposite: bool = False) -> tuple[str, list[Any]]:
        """The ORDER BY list and its parameters; ``opposite`` from the end to the beginning."""
        if self.random:
            return dialects.current().random, []
        postgresql = dialects.current().name == "postgresql"
        parts: list[str] = []
        params: list[Any] = []
        for key in self.keys:
            descending = key.descending is not opposite
            direction = "DESC" if descending else "ASC"
            # SQLite sorts NULL first by itself; PostgreSQL has to be told.
            nulls = (" NULLS LAST" if descending else " NULLS FIRST") if key.nullable and postgresql else ""
            parts.append(f"{key.sql} {direction}{nulls}")
            params += key.params
        return ", ".join(parts), params

    # -- cursors ------------------------------------------------------------
    def columns(self) -> tuple[str, list[Any]]:
        """The keys' values as extra columns of the SELECT, for :meth:`cursor`."""
        raw = dialects.current().raw
        return ", ".join(raw(key.sql) for key in self.keys), [p for key in self.keys for p in key.params]

    def cursor(self, values: list[Any]) -> str:
        """An opaque text that :meth:`after` understands: the place behind these key values."""
        plain = [_to_text(value) for value in values]
        return base64.urlsafe_b64encode(orjson.dumps([self.digest, *plain])).decode().rstrip("=")

    def after(self, cursor: str) -> tuple[str, list[Any]]:
        """SQL for everything behind that place; BadRequest for a cursor of another order."""
        values = self._read(cursor)
        if all(not key.nullable for key in self.keys) and len({key.descending for key in self.keys}) == 1:
            sign = "<" if self.keys[0].descending else ">"
            left, params = ", ".join(key.sql for key in self.keys), [p for key in self.keys for p in key.params]
            marks = ", ".join([dialects.current().placeholder] * len(values))
            return f"({left}) {sign} ({marks})", [*params, *values]
        # (a after) or (a equal and b after) or …
        mark = dialects.current().placeholder
        alternatives, params = [], []
        for position, key in enumerate(self.keys):
            value = values[position]
            equal = [
                f"{k.sql} IS NULL" if v is None else f"{k.sql} = {mark}"
                for k, v in zip(self.keys[:position], values, strict=False)
            ]
            if key.descending:
                behind = "1 = 0" if value is None else f"({key.sql} < {mark} OR {key.sql} IS NULL)"
            else:
                behind = f"{key.sql} IS NOT NULL" if value is None else f"{key.sql} > {mark}"
            alternatives.append("(" + " AND ".join([*equal, behind]) + ")")
            for k, v in zip(self.keys[:position], values, strict=False):
                params += [*k.params, *([] if v is None else [v])]
            if value is None:
                params += [] if key.descending else key.params
            else:
                params += [*key.params, value, *(key.params if key.descending else ())]
        return "(" + " OR ".join(alternatives) + ")", params

    def _read(self, cursor: str) -> list[Any]:
        try:
            raw = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if not isinstance(raw, list) or len(raw) != len(self.keys) + 1 or raw[0] != self.digest:
                raise ValueError(raw)
            return [_from_text(value, key) for value, key in zip(raw[1:], self.keys, strict=True)]
        except (ValueError, TypeError, InvalidOperation) as error:
            raise BadRequest("cursor: not a cursor of this list and sort; start again with cursor= empty.") from error


def _to_text(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _from_text(value: Any, key: Key) -> Any:
    """A key's value as a parameter, of the type that its column has."""
    if value is None:
        if not key.nullable:
            raise ValueError(value)
        return None
    dialect = dialects.current()
    if key.value == "text":
        if not isinstance(value, str) or "\x00" in value:
            raise ValueError(value)
        return value
    if key.value == "time":
        moment_of_day = parse_time_of_day(value) if isinstance(value, str) else None
        if moment_of_day is None:
            raise ValueError(value)
        return moment_of_day.isoformat()
    if key.value == "datetime":
        moment = parse_moment(value) if isinstance(value, str) else None
        if moment is None:
            raise ValueError(value)
        return dialect.moment(moment)
    if key.value == "bool":
        if value not in (0, 1):
            raise ValueError(value)
        return bool(value) if dialect.name == "postgresql" else int(value)
    if isinstance(value, str):
        # PostgreSQL's decimals.
        value = Decimal(value)
        if key.value != "decimal" or not value.is_finite() or abs(value.adjusted()) > 40:
            raise ValueError(value)
        return value if dialect.name == "postgresql" else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return value


def read(text: str, collection: CollectionDef, snapshot: Snapshot, env: RuleEnv) -> Order:
    """A ``sort=`` parameter; BadRequest names the key that can't be sorted by."""
    source = text.strip()
    tie = _tie(collection, snapshot)
    if not source:
        if tie is not _BY_ID:
            return Order([tie], "")
        source = DEFAULT if "created" in collection.by_name else "id"
    parts = [part.strip() for part in source.split(",")]
    if len(parts) > MAX_KEYS:
        raise BadRequest(f"sort: at most {MAX_KEYS} keys.")
    if parts == ["@random"]:
        return Order([], source, random=True)
    keys: list[Key] = []
    seen: set[str] = set()
    for part in parts:
        descending, name = part.startswith("-"), part[1:] if part[:1] in ("+", "-") else part
        if name in seen:
            raise BadRequest(f"sort: {name!r} stands more than once.")
        seen.add(name)
        keys.append(_key(name, descending, collection, snapshot, env))
    if "id" not in seen:
        keys.append(replace(tie, descending=keys[-1].descending))
    # A path leads through rows that have rules of their own.
    return Order(keys, source, for_all=not any("." in name for name in seen))


_BY_ID = Key('t."id"', (), False, "text", False)
_BY_NUMBER = Key(f"t.{quote(checking.ROW)}", (), False, "integer", False)


def _tie(collection: CollectionDef, snapshot: Snapshot) -> Key:
    """What tells all records apart: the id, or for a view with an order of its own the number of the row."""
    numbered = collection.type == "view" and definitions.checked_of(collection, snapshot).numbered
    return _BY_NUMBER if numbered else _BY_ID


def _key(name: str, descending: bool, collection: CollectionDef, snapshot: Snapshot, env: RuleEnv) -> Key:
    field = collection.by_name.get(name)
    if name == "id" and collection.type == "view" and not definitions.checked_of(collection, snapshot).has_id:
        return replace(_BY_NUMBER, descending=descending)  # "10" would come before "9"
    readable = field is not None and not field.secret and (env.principal.is_admin or not field.hidden)
    if field is not None and readable:
        if not field.kind.sortable or field.multiple or field.storage != "column":
            raise BadRequest(f"sort: a field like {name!r} has no order.")
        sql = f"t.{quote(field.column)}"
        if field.value == "text" and field.id not in _NEVER_EMPTY and not field.target:
            sql = dialects.current().text(sql)
        return Key(sql, (), descending, field.value, field.id not in _NEVER_EMPTY)
    if "." not in name or field is not None:
        raise BadRequest(f"sort: there is no field {name[:80]!r}.")
    path = rules.compile_path(name, collection, snapshot, env.principal)
    sql, params = path.sql(env, "t")
    return Key(sql, tuple(params), descending, path.value, True)
