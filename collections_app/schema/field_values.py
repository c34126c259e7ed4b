"""The values of one field over all records, read and written in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema.definition import CollectionDef, Field

_BATCH = 500


def read(collection: CollectionDef, field: Field) -> Iterator[tuple[str, Any]]:
    """(record id, value) of all records that have one, in constant memory."""
    if field.storage == "through":
        yield from read_links(field)
        return
    dialect = dialects.current()
    load = field.kind.loader(field, dialect.name)
    mark, last = dialect.placeholder, ""
    sql = (
        f"SELECT id, {dialect.raw(quote(field.column))} FROM {quote(collection.table)}"
        f" WHERE id > {mark} AND {quote(field.column)} IS NOT NULL ORDER BY id LIMIT {_BATCH}"
    )
    while rows := dialect.execute(sql, [last]).fetchall():
        for record_id, raw in rows:
            yield record_id, load(raw) if load else raw
        last = rows[-1][0]


def read_links(field: Field) -> Iterator[tuple[str, Any]]:
    """The same for a many-to-many field, in the order that the lists have."""
    sql = f"SELECT source_id, target_id FROM {quote(field.through)} ORDER BY source_id, position"
    source: str | None = None
    items: list[str] = []
    for source_id, target_id in dialects.current().execute(sql).fetchall():
        if source_id != source:
            if items:
                yield str(source), items
            source, items = source_id, []
        items.append(target_id)
    if items:
        yield str(source), items


def write(table: str, field: Field, place: str, values: Iterable[tuple[str, Any]]) -> None:
    """Set the values (record id, value) of a field that lives in ``place``: a column, or a table of links."""
    dialect = dialects.current()
    mark = dialect.placeholder
    if field.storage == "through":
        sql = f"INSERT INTO {quote(place)} (source_id, target_id, position) VALUES ({mark}, {mark}, {mark})"
        for batch in _batched(values):
            links = [(record_id, item, at) for record_id, value in batch for at, item in enumerate(value)]
            dialect.executemany(sql, links)
        return
    sql = f"UPDATE {quote(table)} SET {quote(place)} = {mark} WHERE id = {mark}"
    for batch in _batched(values):
        dialect.executemany(sql, [(field.kind.dump(dialect.name, value), record_id) for record_id, value in batch])


def all_ids(table: str) -> list[str]:
    return [row[0] for row in dialects.current().execute(f"SELECT id FROM {quote(table)}").fetchall()]


def _batched(values: Iterable[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    batch: list[tuple[str, Any]] = []
    for pair in values:
        batch.append(pair)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
