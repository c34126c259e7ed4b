"""Passwords are hashed before locks are taken: that takes longer than all else of a write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collections_app.records import access
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.fields import HashedPassword
from collections_app.schema.snapshot import Snapshot


def names(collection: CollectionDef) -> tuple[str, ...]:
    """The fields that clients send passwords in."""
    found: tuple[str, ...] | None = collection.memo.get("passwords")
    if found is None:
        found = tuple(field.name for field in collection.fields if field.type == "password" and field.writable)
        collection.memo["passwords"] = found
    return found


def ahead(
    collection: CollectionDef, action: str, data: Mapping[str, Any], env: RuleEnv, snapshot: Snapshot
) -> Mapping[str, Any]:
    """The data with hashes for passwords that could be some, unless this caller is refused anyway."""
    sent = {name: data[name] for name in names(collection) if _could_be_one(data.get(name))}
    if not sent or access.verdict(collection, action, env, snapshot) is False:
        return data
    return {**data, **{name: HashedPassword.of(plain) for name, plain in sent.items()}}


def _could_be_one(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, HashedPassword) and 8 <= len(value) <= 128
