"""The statements of the write path: whole records into tables, links and search index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, connection

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records.codec import Record, placeholders, whole_codec
from collections_app.schema import indexes, search_index
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import FieldType
from core.errors import Conflict

_MAX_SHAPES = 200  # of updates, by the fields that they change


def select(collection: CollectionDef, record_id: str, *, lock: bool = True) -> Record | None:
    """One whole record, secrets included, locked until the transaction ends."""
    reader = whole_codec(collection)
    dialect = dialects.current()
    suffix = " FOR UPDATE" if lock and dialect.name == "postgresql" else ""
    sql = f"SELECT {reader.columns} FROM {quote(collection.table)} AS t WHERE t.id = {dialect.placeholder}{suffix}"
    records = reader.records(dialect.execute(sql, [record_id]).fetchall())
    return records[0] if records else None


def insert(collection: CollectionDef, records: Sequence[Record], *, admin: bool = True) -> None:
    """Insert whole records; Conflict for a value that must be unique and is not.

    ``admin`` is whether those who are told may know of hidden fields.
    """
    dialect = dialects.current()
    key = ("insert", dialect.name)
    if key not in collection.memo:
        fields = collection.stored_fields
        columns = ", ".join(quote(field.column) for field in fields)
        sql = f"INSERT INTO {quote(collection.table)} ({columns}) VALUES ({placeholders(len(fields))})"
        collection.memo[key] = sql, _dumper(fields, dialect.name)
    sql, dump = collection.memo[key]
    with conflicts(collection, admin=admin):
        if len(records) == 1:
            dialect.execute(sql, dump(records[0]))
        else:
            dialect.executemany(sql, [dump(record) for record in records])
    for field in collection.through_fields:
        _insert_links(field, [(record["id"], record[field.name]) for record in records])
    if search_index.is_kept(collection):
        search_index.put(collection, records)


def update(collection: CollectionDef, record: Record, changed: Mapping[str, Any], *, admin: bool = True) -> None:
    """Write the changed values of one record, which ``record`` holds already."""
    dialect = dialects.current()
    sql, dump, searched = _update_statement(collection, frozenset(changed), dialect)
    with conflicts(collection, admin=admin):
        dialect.execute(sql, dump(record))
    for field in collection.through_fields:
        if field.name in changed:
            dialect.execute(
                f"DELETE FROM {quote(field.through)} WHERE source_id = {dialect.placeholder}", [record["id"]]
            )
            _insert_links(field, [(record["id"], record[field.name])])
    if searched:
        search_index.put(collection, [record])


def _update_statement(
    collection: CollectionDef, names: frozenset[str], dialect: dialects.SQLite
) -> tuple[str, Callable[[Record], list[Any]], bool]:
    """How these fields are written: the statement, its parameters, and whether search looks into them."""
    known: dict[Any, Any] = collection.memo.setdefault(("update", dialect.name), {})
    found: tuple[str, Callable[[Record], list[Any]], bool] | None = known.get(names)
    if found is None:
        mark = dialect.placeholder
        fields = [field for field in collection.stored_fields if field.name in names]
        assignments = ", ".join(f"{quote(field.column)} = {mark}" for field in fields)
        found = (
            f"UPDATE {quote(collection.table)} SET {assignments} WHERE id = {mark}",
            _dumper([*fields, collection.by_id["id"]], dialect.name),
            search_index.is_kept(collection) and any(collection.by_id[fid].name in names for fid in collection.search),
        )
        if len(known) >= _MAX_SHAPES:
            known.clear()
        known[names] = found
    return found


def _dumper(fields: Sequence[Field], vendor: str) -> Callable[[Record], list[Any]]:
    """A function from a record to the driver's values of these fields."""
    plain = FieldType.dump
    dumps = [(field.name, None if type(field.kind).dump is plain else field.kind.dump) for field in fields]
    return lambda record: [record[name] if dump is None else dump(vendor, record[name]) for name, dump in dumps]


def delete(collection: CollectionDef, record_id: str) -> None:
    """Delete one record with its links and its place in the search index."""
    dialect = dialects.current()
    mark = dialect.placeholder
    for field in collection.through_fields:
        dialect.execute(f"DELETE FROM {quote(field.through)} WHERE source_id = {mark}", [record_id])
    dialect.execute(f"DELETE FROM {quote(collection.table)} WHERE id = {mark}", [record_id])
    if search_index.is_kept(collection):
        search_index.remove(collection, [record_id])


def referring(collection: CollectionDef, field: Field, target_id: str) -> list[str]:
    """The ids of this collection's records whose relation field names that record."""
    dialect = dialects.current()
    if field.storage == "through":
        sql = f"SELECT source_id FROM {quote(field.through)} WHERE target_id = {dialect.placeholder}"
    else:
        sql = f"SELECT id FROM {quote(collection.table)} WHERE {quote(field.column)} = {dialect.placeholder}"
    return [row[0] for row in dialect.execute(sql, [target_id]).fetchall()]


def _insert_links(field: Field, links: Sequence[tuple[str, Sequence[str]]]) -> None:
    rows = [(source, target, place) for source, targets in links for place, target in enumerate(targets)]
    if rows:
        dialects.current().executemany(
            f"INSERT INTO {quote(field.through)} (source_id, target_id, position) VALUES ({placeholders(3)})", rows
        )


@contextmanager
def conflicts(collection: CollectionDef, *, admin: bool) -> Iterator[None]:
    """Turns an engine's unique violation into Conflict, with the names of the fields that they may know of."""
    try:
        yield
    except IntegrityError as error:
        cause = getattr(error.__cause__, "diag", None)
        constraint = cause.constraint_name if cause is not None else None
        names = indexes.of_violation(collection, str(error), constraint, connection.vendor)
        if not names:
            raise
        told = [name for name in names if admin or not collection.by_name[name].hidden]
        what = " and ".join(told)
        raise Conflict(
            f"There already is a record with this {what}." if told else None,
            fields={name: ["This value is already in use."] for name in told},
        ) from error
