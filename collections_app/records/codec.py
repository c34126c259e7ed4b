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
    return collection.memo[key]


def _ordered(collection: CollectionDef) -> list[Field]:
    head = [collection.by_id[name] for name in _HEAD]
    return head + [field for field in collection.fields if field.id not in _HEAD]


def _column(field: Field) -> str:
    column = f"t.{quote(field.column)}"
    return column if field.value == "text" else dialects.current().raw(column)


def _as_it_is(value: Any) -> Any:
    return value


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
        columns = {field.name: _column(field) for field in stored}
        if any(field.storage == "name" for field in fields):
            # Every row carries its collection's name, in its place behind the id.
            columns = {"id": columns.pop("id"), "collection": f"'{collection.name}'", **columns}
        self.columns = ", ".join(columns.values())
        self.stored = tuple(stored)
        self.through = tuple(field for field in fields if field.storage == "through")
        self._names = tuple(columns)
        # Where a driver's value, or the lack of one, is not yet the record's.
        self._loaders = [
            (field.name, load or _as_it_is, field.kind.empty(field))
            for field in stored
            if (load := field.kind.loader(field, vendor)) is not None or field.kind.empty(field) is not None
        ]
        self._order = [field.name for field in fields]

    def record(self, row: Sequence[Any]) -> Record:
        """One row's record, without what lives in other tables."""
        record = dict(zip(self._names, row, strict=True))
        for name, load, empty in self._loaders:
            value = record[name]
            if value is not None:
                record[name] = load(value)
            elif empty is not None:
                record[name] = [] if empty == [] else empty
        return record

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
    return collection.memo[key]


def whole_codec(collection: CollectionDef) -> Codec:
    """The codec of every field, secrets included: for the write path and the log."""
    key = ("codec", dialects.current().name, "whole")
    if key not in collection.memo:
        collection.memo[key] = Codec(collection, _ordered(collection), key[1])
    return collection.memo[key]


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
        for source_id, target_id in dialect.rows(sql, chunk):
            links.setdefault(source_id, []).append(target_id)
    return links


def placeholders(count: int) -> str:
    return ", ".join([dialects.current().placeholder] * count)


def public(collection: CollectionDef, record: Record, *, admin: bool) -> Record:
    """A whole record as this audience may read it."""
    return {field.name: record[field.name] for field in visible_fields(collection, admin=admin)}
