"""Collections as immutable values.

Identity is the id: names are labels that may change, and nothing stored refers
to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dc_field
from datetime import datetime
from functools import cached_property
from typing import Any

from collections_app.schema import fields as field_types
from collections_app.schema.fields import Field

__all__ = ["CollectionDef", "Field", "Index"]

TYPES = ("base", "auth", "view")
RULES = ("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule")
ADMINS_ONLY = "@request.auth.role = 'admin'"
THE_ACCOUNT_ITSELF = "@request.auth.id = @record.id && @request.auth.collection = @record.collection"

MAX_FIELDS = 200
MAX_INDEXES = 30
# A PostgreSQL index entry holds about 2,700 bytes; the limit is the same on SQLite.
INDEX_BYTES = 2000


def _system(name: str, type_name: str, *, id: str | None = None, **kwargs: Any) -> Field:
    kind = field_types.get(type_name)
    kwargs.setdefault("storage", "column")
    return Field(
        id=id or name, name=name, type=type_name, kind=kind, value=kind.value, multiple=False, system=True, **kwargs
    )


ID_FIELD = _system("id", "text", unique=True)
COLLECTION_FIELD = _system("collection", "text", storage="name")
DATE_FIELDS = (_system("created", "datetime"), _system("updated", "datetime"))
AUTH_FIELDS = (
    _system("email", "email", id="email", required=True, unique=True, index_bytes=INDEX_BYTES),
    _system("password", "password", required=True, secret=True, hidden=True),
    _system("verified", "bool"),
    _system("role", "text", default="user", validation={"max_length": 50}),
    _system("token_key", "text", secret=True, hidden=True),
)


@dataclass(frozen=True, slots=True)
class Index:
    """A database index over fields, named by their ids."""

    fields: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True)
class CollectionDef:
    """What one collection is. Immutable, refers to other collections by id only."""

    id: str
    name: str
    type: str
    table: str
    fields: tuple[Field, ...]
    rules: Mapping[str, str | None]
    indexes: tuple[Index, ...] = ()
    search: tuple[str, ...] = ()
    options: Mapping[str, Any] = dc_field(default_factory=dict)
    view_query: str | None = None
    cache_ttl: int | None = None
    system: bool = False
    revision: int = 1
    created: datetime | None = None
    updated: datetime | None = None

    @property
    def list_rule(self) -> str | None:
        return self.rules["list_rule"]

    @property
    def view_rule(self) -> str | None:
        return self.rules["view_rule"]

    @property
    def create_rule(self) -> str | None:
        return self.rules["create_rule"]

    @property
    def update_rule(self) -> str | None:
        return self.rules["update_rule"]

    @property
    def delete_rule(self) -> str | None:
        return self.rules["delete_rule"]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def by_id(self) -> dict[str, Field]:
        return {field.id: field for field in self.fields}

    @cached_property
    def own_fields(self) -> tuple[Field, ...]:
        """The fields that somebody defined, without the system's."""
        return tuple(field for field in self.fields if not field.system)

    @cached_property
    def stored_fields(self) -> tuple[Field, ...]:
        """The fields that have a column."""
        return tuple(field for field in self.fields if field.storage in ("column", "list"))

    @cached_property
    def through_fields(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.storage == "through")

    @cached_property
    def target_fields(self) -> tuple[Field, ...]:
        """The fields that refer to other records."""
        return tuple(field for field in self.fields if field.target)

    @cached_property
    def file_fields(self) -> tuple[Field, ...]:
        """The fields whose values are names of stored files."""
        return tuple(field for field in self.fields if field.type == "file")

    @cached_property
    def unique_ids(self) -> frozenset[str]:
        """The fields that are unique, alone or with others."""
        alone = (field.id for field in self.fields if field.unique)
        return frozenset(alone).union(*(index.fields for index in self.indexes if index.unique))

    @cached_property
    def owner_names(self) -> frozenset[str]:
        """Fields that a list or view rule compares with the caller's id."""
        return owner_names(self.rules)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """Things derived from this definition alone; they die with it."""
        return {}

    def field_names(self, field_ids: Iterable[str]) -> list[str]:
        return [self.by_id[field_id].name for field_id in field_ids]

    def stored(self) -> dict[str, Any]:
        """The columns of the ``collections`` row."""
        return {
            "name": self.name,
            "type": self.type,
            "schema": [field.as_json() for field in self.own_fields],
            **self.rules,
            "indexes": [{"fields": list(index.fields), "unique": index.unique} for index in self.indexes],
            "options": {**self.options, **({"search": list(self.search)} if self.search else {})},
            "view_query": self.view_query,
            "cache_ttl": self.cache_ttl,
        }


_OWNER = re.compile(
    r"@request\.auth\.id\s*=\s*(?:@record\.)?(?P<right>[a-z][a-z0-9_]*)\b(?!\.)"
    r"|(?<![.\w])(?:@record\.)?(?P<left>[a-z][a-z0-9_]*)\s*=\s*@request\.auth\.id\b"
)


def owner_names(rules: Mapping[str, Any]) -> frozenset[str]:
    """Names compared with ``@request.auth.id`` in the list and view rules: worth an index."""
    texts = [rules.get("list_rule"), rules.get("view_rule")]
    matches = [match for text in texts if isinstance(text, str) for match in _OWNER.finditer(text)]
    return frozenset(match["right"] or match["left"] for match in matches)
