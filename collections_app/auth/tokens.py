"""Who an access token of an auth collection's account speaks for.

The audience ``record:<collection id>`` is verified once. After that each question is
answered by the sign-in and two columns of the record, whose ``updated`` moves with
everything in it: only when they, or the collection's definition, are other ones is
the record read whole.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from accounts import tokens
from accounts.principals import Principal
from accounts.tokens import BAD_TOKEN
from collections_app import dialects
from collections_app.auth import records
from collections_app.dialects import quote
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core.errors import Unauthorized

AUDIENCE = "record"


class _VerifiedRecord:
    """A verified access token; its principal is the same object while the record stays as it is."""

    __slots__ = ("_collection_id", "_keys", "_principal", "_seen", "_stamp", "_subject", "expires")

    def __init__(self, claims: dict[str, Any], collection_id: str) -> None:
        sign_in = uuid.UUID(claims["sid"])
        self.expires = float(claims["exp"])
        self._collection_id, self._subject, self._stamp = collection_id, claims["sub"], claims.get("stm")
        sid = sign_in.hex if connection.vendor == "sqlite" else sign_in
        self._keys = (sid, collection_id, self._subject, self._subject)
        self._seen: tuple[CollectionDef, tuple[Any, ...]] | None = None
        self._principal: Principal | None = None

    def principal(self) -> Principal:
        return registry.with_schema(self._ask, reads=True)

    def _ask(self, snapshot: Snapshot) -> Principal:
        collection = snapshot.by_id.get(self._collection_id)
        if collection is None or collection.type != "auth":
            raise Unauthorized(BAD_TOKEN)
        found = dialects.current().rows(_statement(collection), self._keys, keyed=True)
        if not found:
            raise Unauthorized(BAD_TOKEN)
        seen = (collection, found[0])
        if self._principal is None or self._seen is None or seen[0] is not self._seen[0] or seen[1] != self._seen[1]:
            record = records.read(collection, collection.by_id["id"], self._subject)
            if record is None or records.stamp(record) != self._stamp:
                raise Unauthorized(BAD_TOKEN)
            # A record that has moved on meanwhile is not what was seen, and is read again next time.
            self._principal, self._seen = records.principal_of(collection, record), seen
        return self._principal


def _statement(collection: CollectionDef) -> str:
    """The record's ``updated`` and token key, if the sign-in is open."""
    dialect = dialects.current()
    key = ("token", dialect.name)
    if key not in collection.memo:
        mark = dialect.placeholder
        collection.memo[key] = (
            f"SELECT t.updated, t.token_key FROM {quote(collection.table)} AS t CROSS JOIN sign_ins AS s"
            f" WHERE s.id = {mark} AND s.realm = {mark} AND s.account_id = {mark} AND s.revoked IS NULL"
            f" AND t.id = {mark}"
        )
    statement: str = collection.memo[key]
    return statement


def resolve(raw: str) -> tokens.Verified:
    """The resolver of the audience ``record``."""
    audience = tokens.audience_of(raw)
    return _VerifiedRecord(tokens.access_claims(raw, audience), audience.partition(":")[2])
