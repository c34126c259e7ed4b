"""Rows of the database as records, and back.

A record is a flat dict of plain JSON values: ``{id, collection, created,
updated, …fields}``. The codec of a set of fields is made once per definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    head = [collection.by_id[name] for name in _HEAD if name in collection.by_id]
    return head + [field for field in collection.fields if field.id not in _HEAD]


def _column(field: Field) -> str:
    column = f"t.{quote(field.column)}"
    return column if field.value == "text" else dialects.current().raw(column)


class Codec:
    """Reads records of a collection with a given choice of fields, the id among them.

    ``columns`` is the SELECT list for the alias ``t``; :meth:`records` turns the
    fetched rows into dicts and adds what lives in other tables.
    """

    def __init__(self, collection: CollectionDef, fields: Sequence[Field], vendor: str) -> None:
        stored = [field for field in fields if field.storage in ("column", "list")]
        self.columns = ", ".join(_column(field) for field in stored)
        self.through = tuple(field for field in fields if field.storage == "through")
        self._read = _reader(collection, stored, fields, vendor)

    def records(self, rows: Iterable[Sequence[Any]]) -> list[Record]:
        """All rows' records, whole."""
        found: list[Record] = self._read(rows)
        for field in self.through if found else ():
            links = read_links(field, [record["id"] for record in found])
            for record in found:
                record[field.name] = links.get(record["id"], [])
        return found


def _reader(
    collection: CollectionDef, stored: Sequence[Field], fields: Sequence[Field], vendor: str
) -> Callable[[Iterable[Sequence[Any]]], list[Record]]:
    """A function from rows to records, written for these fields.

    A loop over fields costs several times as much for each row as the one
    expression that it comes to, so that expression is put together here: names
    as literals, values by position.
    """
    place = {field.name: f"v{number}" for number, field in enumerate(stored)}
    names: dict[str, Any] = {}
    items = []
    for field in fields:
        if field.storage == "name":
            value = repr(collection.name)
        elif field.storage == "through":
            value = "None"  # its place in the record
        else:
            value = place[field.name]
            load, empty = field.kind.loader(field, vendor), field.kind.empty(field)
            if load is not None:
                names[f"load_{value}"] = load
            if load is not None or empty is not None:
                loaded = f"load_{value}({value})" if load is not None else value
                value = f"{empty!r} if {value} is None else {loaded}"
        items.append(f"{field.name!r}: {value}")
    source = f"lambda rows: [{{{', '.join(items)}}} for {', '.join(place.values())}, in rows]"
    read: Callable[[Iterable[Sequence[Any]]], list[Record]] = eval(source, names)  # noqa: S307 - of our own making
    return read


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
