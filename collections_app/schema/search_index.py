"""The full-text index of a collection on SQLite: a table of folded texts, and an FTS5 index of their trigrams.

PostgreSQL needs none of this: its trigram indexes keep themselves (indexes.py).
Here the write path maintains the texts, because folding is ours, and triggers
keep the index to them. The index only tells which rows have which trigrams, not
where, and the rows are numbered from 1 on: so it takes a twelfth of the place of
one with positions by some hash of the id. Which of the rows that it proposes have
the whole text is read from the texts.

https://www.sqlite.org/fts5.html#external_content_tables,
https://www.sqlite.org/fts5.html#the_detail_option
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from collections_app import dialects
from collections_app.schema.definition import CollectionDef

# Below this many characters there is no trigram to look for.
MIN_CHARACTERS = 3
_BATCH = 1000
# So many trigrams of a text are looked for; the rest of it is found by reading.
_MAX_TRIGRAMS = 8


def table(collection: CollectionDef) -> str:
    return f"fts_{collection.id}"


def texts(collection: CollectionDef) -> str:
    return f"fts_{collection.id}_texts"


def is_kept(collection: CollectionDef) -> bool:
    return bool(collection.search) and dialects.current().name == "sqlite"


def create(collection: CollectionDef) -> None:
    execute = dialects.current().execute
    index, source = table(collection), texts(collection)
    columns = ", ".join(collection.search)
    old, new = (", ".join(f"{row}.{field_id}" for field_id in collection.search) for row in ("old", "new"))
    enter = f"INSERT INTO {index} (rowid, {columns}) VALUES (new.n, {new});"
    leave = f"INSERT INTO {index} ({index}, rowid, {columns}) VALUES ('delete', old.n, {old});"
    execute(f"CREATE TABLE {source} (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, {columns})")
    execute(
        f"CREATE VIRTUAL TABLE {index} USING fts5({columns}, content='{source}', content_rowid='n',"
        " columnsize=0, detail=none, tokenize='trigram case_sensitive 1')"
    )
    execute(f"CREATE TRIGGER {index}_insert AFTER INSERT ON {source} BEGIN {enter} END")
    execute(f"CREATE TRIGGER {index}_update AFTER UPDATE ON {source} BEGIN {leave} {enter} END")
    execute(f"CREATE TRIGGER {index}_delete AFTER DELETE ON {source} BEGIN {leave} END")


def drop(collection: CollectionDef) -> None:
    dialects.current().execute(f"DROP TABLE IF EXISTS {texts(collection)}")
    dialects.current().execute(f"DROP TABLE IF EXISTS {table(collection)}")


def fill(collection: CollectionDef) -> None:
    """Index all records that are there."""
    dialect = dialects.current()
    names = [dialects.quote(collection.by_id[field_id].column) for field_id in collection.search]
    cursor = dialect.execute(f"SELECT id, {', '.join(names)} FROM {dialects.quote(collection.table)}")
    insert = _put_sql(collection)
    while rows := cursor.fetchmany(_BATCH):
        dialect.executemany(insert, [_row(row[0], row[1:]) for row in rows])


def count_stale(collection: CollectionDef) -> int:
    """How many records have other texts than those that are indexed. Reads all of them."""
    columns = [f"r.{dialects.quote(collection.by_id[field_id].column)}" for field_id in collection.search]
    kept = [f"s.{field_id}" for field_id in collection.search]
    cursor = dialects.current().execute(
        f"SELECT r.id, {', '.join(columns + kept)} FROM {dialects.quote(collection.table)} AS r"
        f" JOIN {texts(collection)} AS s ON s.id = r.id"
    )
    count, half = 0, len(columns)
    while rows := cursor.fetchmany(_BATCH):
        count += sum(_row(row[0], row[1 : 1 + half])[1:] != tuple(row[1 + half :]) for row in rows)
    return count


def put(collection: CollectionDef, records: Iterable[Mapping[str, Any]]) -> None:
    """Index these records, in place of what was there of them."""
    names = collection.field_names(collection.search)
    rows = [_row(record["id"], [record[name] for name in names]) for record in records]
    dialects.current().executemany(_put_sql(collection), rows)


def remove(collection: CollectionDef, record_ids: Iterable[str]) -> None:
    dialects.current().executemany(
        f"DELETE FROM {texts(collection)} WHERE id = ?", [(record_id,) for record_id in record_ids]
    )


def condition(collection: CollectionDef, field_ids: Iterable[str], needle: str, alias: str) -> tuple[str, list[Any]]:
    """SQL that holds for records with ``needle`` in one of the indexed fields."""
    folded = dialects.fold(needle)
    index, wanted = table(collection), set(field_ids)
    has_it = " OR ".join(f"instr(s.{field_id}, ?)" for field_id in collection.search if field_id in wanted)
    # The index is read first: SQLite takes it for dearer than all texts.
    sql = (
        f"{alias}.id IN (SELECT s.id FROM {index} CROSS JOIN {texts(collection)} AS s ON s.n = {index}.rowid"
        f" WHERE {index} MATCH ? AND ({has_it}))"
    )
    return sql, [_trigrams(folded), *[folded] * len(wanted)]


def _trigrams(text: str) -> str:
    """The FTS5 query for rows that have trigrams from all over the text."""
    last = len(text) - MIN_CHARACTERS
    step = max(MIN_CHARACTERS, last // (_MAX_TRIGRAMS - 1))
    places = sorted({*range(0, last, step), last})
    return " AND ".join('"' + text[place : place + MIN_CHARACTERS].replace('"', '""') + '"' for place in places)


def _put_sql(collection: CollectionDef) -> str:
    columns = "".join(f", {field_id}" for field_id in collection.search)
    values = ", ".join(f"{field_id} = excluded.{field_id}" for field_id in collection.search)
    return (
        f"INSERT INTO {texts(collection)} (id{columns}) VALUES (?{', ?' * len(collection.search)})"
        f" ON CONFLICT (id) DO UPDATE SET {values}"
    )


def _row(record_id: str, texts: Iterable[Any]) -> tuple[Any, ...]:
    return (record_id, *(None if text is None else dialects.fold(text) for text in texts))
