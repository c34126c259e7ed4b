"""Collections as other apps know them: by name for people, by id for what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collections_app.schema import registry


def ids(given: Sequence[str]) -> Mapping[str, str]:
    """The ids of collections given by name or id; of those that exist."""
    snapshot = registry.latest()
    found = {text: snapshot.by_name.get(text) or snapshot.by_id.get(text) for text in given}
    return {text: collection.id for text, collection in found.items() if collection is not None}


def names(ids: Sequence[str]) -> Mapping[str, str]:
    """The names of the collections that still exist."""
    by_id = registry.latest().by_id
    return {collection_id: by_id[collection_id].name for collection_id in ids if collection_id in by_id}
