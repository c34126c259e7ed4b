"""Who reads the document: it decides which collections and fields are in it."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.principals import Principal
from collections_app.api.serializers import may_send
from collections_app.records import access
from collections_app.records.codec import visible_fields
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core import clock


@dataclass(frozen=True, slots=True)
class Audience:
    """Admins, who see everything, or those who may list exactly these collections (by id)."""

    admin: bool
    listable: frozenset[str] = frozenset()

    def sees(self, collection_id: str) -> bool:
        return self.admin or collection_id in self.listable

    def fields(self, collection: CollectionDef) -> tuple[Field, ...]:
        """The fields that they may read."""
        return visible_fields(collection, admin=self.admin)

    def may_send(self, field: Field) -> bool:
        return may_send(field, admin=self.admin)


def audience_of(principal: Principal, snapshot: Snapshot) -> Audience:
    if principal.is_admin:
        return Audience(admin=True)
    env = RuleEnv(principal=principal, now=clock.now())
    return Audience(
        admin=False,
        listable=frozenset(
            collection.id
            for collection in snapshot.by_id.values()
            if access.verdict(collection, "list", env, snapshot) is not False
        ),
    )
