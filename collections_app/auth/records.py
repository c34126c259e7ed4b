"""Records of auth collections as accounts and as principals."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from accounts.models import SecondFactor, credential_stamp
from accounts.principals import Principal
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records.codec import Record, public, visible_fields, whole_codec
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core.errors import NotFound

_NOT_ASKED = frozenset({"id", "collection", "email", "role", "verified"})  # attributes of a principal


class RecordAccount:
    """A record as :class:`accounts.models.owned.Account`; ``collection`` is the definition it was read by."""

    is_active = True
    collection: CollectionDef
    record: Record
    email: str
    role: str
    verified: bool
    password: str

    def __init__(self, collection: CollectionDef, record: Record) -> None:
        self.take(collection, record)

    @cached_property
    def two_fa_enabled(self) -> bool:
        """Read when it is asked for: looking an account up takes as long as finding none."""
        return SecondFactor.objects.of(self).exists()

    def take(self, collection: CollectionDef, record: Record) -> None:
        """Be this whole record from now on."""
        self.collection, self.record = collection, record
        self.email, self.role = record["email"] or "", record["role"] or ""
        self.verified, self.password = bool(record["verified"]), record["password"] or "!"

    @property
    def realm_key(self) -> str:
        return self.collection.id

    @property
    def account_id(self) -> str:
        return str(self.record["id"])

    def credential_stamp(self) -> str:
        return stamp(self.record)

    def as_json(self) -> dict[str, Any]:
        """The record as its owner sees it; a field of that name goes before our own."""
        return {"two_fa_enabled": self.two_fa_enabled, **public(self.collection, self.record, admin=False)}


def stamp(record: Record) -> str:
    """The credential stamp of a whole record."""
    return credential_stamp(*(record[name] or "" for name in ("token_key", "password", "email", "role")))


def principal_of(collection: CollectionDef, record: Record) -> Principal:
    """Who the record is to rules: never an admin, and without hidden fields."""
    return Principal(
        id=record["id"],
        collection=collection.name,
        collection_id=collection.id,
        email=record["email"] or "",
        role=record["role"] or "",
        verified=bool(record["verified"]),
        fields={
            field.name: record[field.name]
            for field in visible_fields(collection, admin=False)
            if field.name not in _NOT_ASKED
        },
    )


def auth_collection(snapshot: Snapshot, collection_id: str) -> CollectionDef:
    """The auth collection of that id; NotFound where there is none, or no longer."""
    found = snapshot.by_id.get(collection_id)
    if found is None or found.type != "auth":
        raise NotFound(f"There is no auth collection {collection_id[:80]!r}.")
    return found


def read(collection: CollectionDef, field: Field, value: str) -> Record | None:
    """The whole record, secrets included, whose unique ``field`` has this value."""
    reader, dialect = whole_codec(collection), dialects.current()
    rows = dialect.rows(
        f"SELECT {reader.columns} FROM {quote(collection.table)} AS t"
        f" WHERE t.{quote(field.column)} = {dialect.placeholder}",
        [value],
        keyed=True,
    )
    records = reader.records(rows)
    return records[0] if records else None
