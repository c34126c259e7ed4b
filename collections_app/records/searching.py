"""``search=``: the text anywhere, whatever its case, in every readable text field; and what a list holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records.codec import visible_fields
from collections_app.schema import search_index
from collections_app.schema.definition import CollectionDef
from core.errors import BadRequest


def condition(collection: CollectionDef, needle: str, *, admin: bool) -> tuple[str, list[Any]]:
    """SQL over the alias ``t``. Indexed fields go through the trigram index, the rest is scanned."""
    dialect = dialects.current()
    fields = [field for field in visible_fields(collection, admin=admin) if field.searchable]
    if not fields:
        return "1 = 0", []
    parts: list[str] = []
    params: list[Any] = []
    folded = dialects.fold(needle)
    if search_index.is_kept(collection) and len(folded) >= search_index.MIN_CHARACTERS:
        indexed = [field.id for field in fields if field.id in collection.search]
        if indexed:
            sql, values = search_index.condition(collection, indexed, needle, "t")
            parts.append(sql)
            params += values
            fields = [field for field in fields if field.id not in indexed]
    for field in fields:
        parts.append(dialect.contains(f"t.{quote(field.column)}", dialect.placeholder))
        params.append(dialect.contains_param(needle))
    return "(" + " OR ".join(parts) + ")", params


def holding(collection: CollectionDef, name: str, texts: Sequence[str], *, admin: bool) -> tuple[str, list[Any]]:
    """SQL over the alias ``t``: the JSON field is a list that holds one of the texts. BadRequest for
    what is no JSON field that the caller may read."""
    found = next((field for field in visible_fields(collection, admin=admin) if field.name == name), None)
    if found is None or found.value != "json":
        raise BadRequest(f"There is no list {name!r} to look into.")
    return dialects.current().holds_any(f"t.{quote(found.column)}", len(texts)), list(texts)
