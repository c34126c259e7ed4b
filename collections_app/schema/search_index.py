"""The full-text index of a collection on SQLite: an FTS5 table of folded texts.

PostgreSQL needs none of this: its trigram indexes keep themselves (indexes.py).
Here the write path maintains the rows, because it is the only way in, and a
trigger would need our folding function in every tool that opens the file.

A row's rowid is a digest of the record's id: SQLite may renumber the implicit
rowids of a table whose key is text, so those can't link the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from collections_app import dialects
from collections_app.schema.definition import CollectionDef

# Below this many characters there is no trigram to look for.
MIN_CHARACTERS = 3
_BATCH = 1000


def table(collection: CollectionDef) -> str:
    return f"fts_{collection.id}"


def is_kept(collection: CollectionDef) -> bool:
    return bool(collection.search) and dialects.current().name == "sqlite"


def rowid(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=8).digest(), "big", signed=True)


def create(collection: CollectionDef) -> None:
    columns = "".join(f", {field_id}" for field_id in collection.search)
    dialects.current().execute(
        f"CREATE VIRTUAL TABLE {table(collection)}"
        f" USING fts5(id UNINDEXED{columns}, tokenize='trigram case_sensitive 1')"
    )


def drop(collection: CollectionDef) -> None:
    dialects.current().execute(f"DROP TABLE IF EXISTS {table(collection)}")


def fill(collection: CollectionDef) -> None:
    """Index all records that are there."""
    dialect = dialects.current()
    names = [dialects.quote(collection.by_id[field_id].column) for field_id in collection.search]
    cursor = dialect.execute(f"SELECT id, {', '.join(names)} FROM {dialects.quote(collection.table)}")
    insert = _insert_sql(collection)
    while rows := cursor.fetchmany(_BATCH):
        dialect.executemany(insert, [_row(row[0], row[1:]) for row in rows])


def put(collection: CollectionDef, records: Iterable[Mapping[str, Any]]) -> None:
    """Index these records, in place of what was there of them."""
    names = collection.field_names(collection.search)
    rows = [_row(record["id"], [record[name] for name in names]) for record in records]
    dialects.current().executemany(_insert_sql(collection), rows)


def remove(collection: CollectionDef, record_ids: Iterable[str]) -> None:
    dialects.current().executemany(
        f"DELETE FROM {table(collection)} WHERE rowid = ?", [(rowid(record_id),) for record_id in record_ids]
    )


def condition(collection: CollectionDef, field_ids: Iterable[str], needle: str, alias: str) -> tuple[str, list[Any]]:
    """SQL that holds for records with ``needle`` in one of the indexed fields."""
    wanted = set(field_ids)
    match = '"' + dialects.fold(needle).replace('"', '""') + '"'
    if wanted != set(collection.search):
        match = f"{{{' '.join(field_id for field_id in collection.search if field_id in wanted)}}} : {match}"
    name = table(collection)
    return f"{alias}.id IN (SELECT id FROM {name} WHERE {name} MATCH ?)", [match]


def _insert_sql(collection: CollectionDef) -> str:
    columns = "".join(f", {field_id}" for field_id in collection.search)
    return (
        f"INSERT OR REPLACE INTO {table(collection)} (rowid, id{columns}) VALUES (?, ?{', ?' * len(collection.search)})"
    )


def _row(record_id: str, texts: Iterable[Any]) -> tuple[Any, ...]:
    return (rowid(record_id), record_id, *(None if text is None else dialects.fold(text) for text in texts))
