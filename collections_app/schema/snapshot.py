"""What exists right now, as one immutable value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from collections_app.schema.definition import CollectionDef, Field
from core.errors import NotFound


class Snapshot:
    """All collections at one version of the schema.

    Nothing in it changes but ``memo``, where whatever is derived from the whole
    (compiled rules, plans, serializers) is kept, to die with the snapshot.
    """

    def __init__(self, version: int, collections: Iterable[CollectionDef]) -> None:
        self.version = version
        self.by_id: dict[str, CollectionDef] = {collection.id: collection for collection in collections}
        self.by_name: dict[str, CollectionDef] = {c.name: c for c in self.by_id.values()}
        self.memo: dict[Any, Any] = {}

    def get(self, name_or_id: str) -> CollectionDef:
        """The collection of that name or id; NotFound otherwise."""
        found = self.by_name.get(name_or_id) or self.by_id.get(name_or_id)
        if found is None:
            raise NotFound(f"There is no collection {name_or_id[:100]!r}.")
        return found

    @cached_property
    def _referrers(self) -> dict[str, list[tuple[CollectionDef, Field]]]:
        found: dict[str, list[tuple[CollectionDef, Field]]] = {}
        for collection in self.by_id.values():
            if collection.type == "view":
                continue  # its rows refer to nothing by themselves
            for field in collection.fields:
                if field.target:
                    found.setdefault(field.target, []).append((collection, field))
        return found

    def referrers(self, collection_id: str) -> list[tuple[CollectionDef, Field]]:
        """The relation fields, anywhere, that point at that collection."""
        return self._referrers.get(collection_id, [])

    def back_relation(self, collection: CollectionDef, name: str) -> tuple[CollectionDef, Field] | None:
        """``comments_via_post`` → the collection comments and its field post, if post points here."""
        other_name, via, field_name = name.partition("_via_")
        while via:
            other = self.by_name.get(other_name)
            field = other.by_name.get(field_name) if other else None
            if other is not None and field is not None and field.target == collection.id and other.type != "view":
                return other, field
            middle, via, field_name = field_name.partition("_via_")
            other_name = f"{other_name}_via_{middle}"
        return None
