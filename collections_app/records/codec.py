"""Rows of the database as records, and back.

A record is a flat dict of plain JSON values: ``{id, collection, created,
updated, …fields}``. The codec of a set of fields is made once per definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema.definition import CollectionDef, Field

Record = dict[str, Any]
_HEAD = ("id", "collection", "created", "updated")
_CHUNK = 5000


def visible_fields(collection: CollectionDef, *, admin: bool) -> tuple[Field, ...]:
    """The fields that this audience may read; nobody reads secrets."""
    key = ("visible", admin)
    if key not in collection.memo:
        collection.memo[key] = tuple(
            field for field in _ordered(collection) if not field.secret and (admin or not field.hidden)
        )
    return collection.memo[key]  # type: ignore[no-any-return]


def _ordered(collection: CollectionDef) -> list[Field]:
    head = [collection.by_id[name] for name in _HEAD]
    return head + [field for field in collection.fields if field.id not in _HEAD]


class Codec:
    """Reads and writes records of a collection with a given choice of fields.

    ``columns`` is the SELECT list for the alias ``t``; :meth:`records` turns the
    fetched rows into dicts and adds what lives in other tables.
    """

    def __init__(self, collection: CollectionDef, fields: Sequence[Field], vendor: str) -> None:
        self.collection = collection
        stored = [field for field in fields if field.storage in ("column", "list")]
        if not any(field.id == "id" for field in stored):
            stored.insert(0, collection.by_id["id"])
        raw = dialects.current().raw
        self.columns = ", ".join(
            f"t.{quote(field.column)}" if field.value == "text" else raw(f"t.{quote(field.column)}") for field in stored
        )
        self.stored = tuple(stored)
        self.through = tuple(field for field in fields if field.storage == "through")
        self._names = [field.name for field in stored]
        # Where a driver's value, or the lack of one, is not yet the record's.
        self._loaders: list[tuple[int, Any, Any]] = []
        for position, field in enumerate(stored):
            load, empty = field.kind.loader(field, vendor), field.kind.empty(field)
            if load is not None or empty is not None:
                self._loaders.append((position, load, empty))
        self._name_at = next(
            (position for position, field in enumerate(fields) if field.storage == "name"), None
        )
        self._order = [field.name for field in fields]
        self._in_order = not self.through and self._name_at in (None, 1)

    def record(self, row: Sequence[Any]) -> Record:
        """One row's record, without what lives in other tables."""
        values = list(row)
        for position, load, empty in self._loaders:
            value = values[position]
            if value is None:
                values[position] = [] if empty == [] else empty
            elif load is not None:
                values[position] = load(value)
        names = self._names
        if self._name_at is not None:
            values.insert(1, self.collection.name)
            names = [names[0], "collection", *names[1:]]
        return dict(zip(names, values, strict=True))

    def records(self, rows: Iterable[Sequence[Any]]) -> list[Record]:
        """All rows' records, whole."""
        found = [self.record(row) for row in rows]
        if not self.through or not found:
            return found
        for field in self.through:
            links = read_links(field, [record["id"] for record in found])
            for record in found:
                record[field.name] = links.get(record["id"], [])
        return [{name: record[name] for name in self._order} for record in found]


def codec(collection: CollectionDef, fields: Sequence[Field] | None = None, *, admin: bool = False) -> Codec:
    """The codec of these fields, by default of all that the audience may read."""
    vendor = dialects.current().name
    if fields is not None:
        return Codec(collection, fields, vendor)
    key = ("codec", vendor, admin)
    if key not in collection.memo:
        collection.memo[key] = Codec(collection, visible_fields(collection, admin=admin), vendor)
    return collection.memo[key]  # type: ignore[no-any-return]


def whole_codec(collection: CollectionDef) -> Codec:
    """The codec of every field, secrets included: for the write path and the log."""
    key = ("codec", dialects.current().name, "whole")
    if key not in collection.memo:
        collection.memo[key] = Codec(collection, _ordered(collection), key[1])
    return collection.memo[key]  # type: ignore[no-any-return]


def read_links(field: Field, record_ids: Sequence[str]) -> dict[str, list[str]]:
    """Many-to-many: record id → target ids in their order."""
    dialect = dialects.current()
    links: dict[str, list[str]] = {}
    for start in range(0, len(record_ids), _CHUNK):
        chunk = record_ids[start : start + _CHUNK]
        sql = (
            f"SELECT source_id, target_id FROM {quote(field.through)}"
            f" WHERE source_id IN ({placeholders(len(chunk))}) ORDER BY source_id, position"
        )
        for source_id, target_id in dialect.execute(sql, chunk).fetchall():
            links.setdefault(source_id, []).append(target_id)
    return links


def placeholders(count: int) -> str:
    return ", ".join([dialects.current().placeholder] * count)


def public(collection: CollectionDef, record: Record, *, admin: bool) -> Record:
    """A whole record as this audience may read it."""
    return {field.name: record[field.name] for field in visible_fields(collection, admin=admin)}
