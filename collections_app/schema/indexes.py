"""The indexes that a collection should have, and those that its table has.

Names hold the collection's id and a digest of what the index covers, by field
ids: a rename keeps them, a change makes a new one. After every change the two
sets are brought together, so nothing depends on what an engine's table rebuild
kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from django.db import connection

from collections_app import dialects
from collections_app.schema.definition import CollectionDef, Field
from core.catalogue import Index

OWNED = re.compile(r"(ix|uq|tg)_[0-9a-z]+_[0-9a-f]{10}")


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    fields: tuple[Field, ...]
    unique: bool = False
    trigram: bool = False

    def in_catalogue(self) -> Index:
        """What the database says of it, once it is made."""
        return Index(("",) if self.trigram else tuple(field.column for field in self.fields), self.unique, True)

    def create_sql(self, table: str, vendor: str) -> str:
        quote = dialects.quote
        if self.trigram:
            folded = dialects.current().fold(quote(self.fields[0].column))
            operators = f"{quote(_home_of_trigrams())}.gin_trgm_ops"  # the search path may be that of a restore
            return f"CREATE INDEX {quote(self.name)} ON {quote(table)} USING gin (({folded}) {operators})"
        # Empty sorts first on both engines; PostgreSQL has to be told, or it could not use the index.
        order = " NULLS FIRST" if vendor == "postgresql" else ""
        columns = ", ".join(
            quote(field.column) + ("" if field.id in ("id", "created", "updated") else order) for field in self.fields
        )
        return f"CREATE {'UNIQUE ' if self.unique else ''}INDEX {quote(self.name)} ON {quote(table)} ({columns})"


def _home_of_trigrams() -> str:
    """The schema that pg_trgm is installed in: ``public``, or a hoster's own for extensions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
            "WHERE extname = 'pg_trgm'"
        )
        return str(cursor.fetchone()[0])


def wanted(collection: CollectionDef, vendor: str, *, trigrams: bool) -> dict[str, Wanted]:
    """All indexes that the definition asks for, by name."""
    by_id = collection.by_id
    newest_first = (by_id["created"], by_id["id"])
    specs: list[tuple[tuple[Field, ...], bool, bool]] = [(newest_first, False, False)]
    for field in collection.stored_fields:
        if field.unique and field.id != "id":
            specs.append(((field,), True, False))
        elif field.target or (field.name in collection.owner_names and _indexable(field)):
            # What a list is limited by, in the order that it is shown in.
            specs.append(((field, *newest_first), False, False))
    for index in collection.indexes:
        fields = tuple(by_id[fid] for fid in index.fields)
        if not index.unique:
            # So too: what equals one value is shown newest first. A sort by several ends with the id.
            ending = newest_first if len(fields) == 1 else newest_first[-1:]
            fields += tuple(field for field in ending if field not in fields)
        specs.append((fields, index.unique, False))
    if vendor == "postgresql" and trigrams:
        specs += [((by_id[fid],), False, True) for fid in collection.search]
    found: dict[str, Wanted] = {}
    for fields, unique, trigram in specs:
        prefix = "uq" if unique else "tg" if trigram else "ix"
        covered = ",".join(field.id for field in fields)
        digest = hashlib.blake2b(f"{prefix}:{covered}".encode(), digest_size=5).hexdigest()
        name = f"{prefix}_{collection.id}_{digest}"
        found[name] = Wanted(name, fields, unique, trigram)
    return found


def _indexable(field: Field) -> bool:
    return field.kind.can_be_indexed and field.storage == "column" and not field.secret


def existing(table: str, vendor: str) -> set[str]:
    """The names of our indexes that the table has now."""
    dialect = dialects.current()
    if vendor == "sqlite":
        sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
    else:
        sql = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s"
    return {name for (name,) in dialect.execute(sql, [table]).fetchall() if OWNED.fullmatch(name)}


def of_violation(collection: CollectionDef, text: str, constraint: str | None, vendor: str) -> tuple[str, ...]:
    """The field names of the unique index that an engine's error speaks of; empty if unknown.

    SQLite names columns (``UNIQUE constraint failed: c_x.email``), PostgreSQL the index.
    """
    if constraint:
        if constraint.endswith("_pkey"):
            return ("id",)
        index = wanted(collection, vendor, trigrams=False).get(constraint)
        return tuple(field.name for field in index.fields) if index else ()
    match = re.search(r"UNIQUE constraint failed: (.+)", text)
    if not match:
        return ()
    names = [part.strip().rpartition(".")[2] for part in match.group(1).split(",")]
    return tuple(name for name in names if name in collection.by_name)
