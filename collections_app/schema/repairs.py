"""Bringing tables back to what the definitions say, where something of them was lost.

Only adds: a table, a column (with its default), an index, a link table, the search index,
permissions. What is too much, or of another type than it should be, is left to people.
"""

from __future__ import annotations

from collections_app.models import SchemaEpoch
from collections_app.schema import permissions, registry
from collections_app.schema.change import schema_change
from collections_app.schema.ddl import Tables
from collections_app.schema.snapshot import Snapshot


def begin_epoch() -> None:
    """The row that every change of the schema moves."""
    SchemaEpoch.objects.get_or_create(pk=1)
    registry.forget()


def complete(collection_id: str) -> None:
    """Add whatever a collection's tables lack. Raises IntegrityError where values stand in the way of an index."""
    with schema_change() as change:
        targets = {collection.id: collection.table for collection in change.snapshot.by_id.values()}
        Tables(change.editor, targets).complete(change.snapshot.by_id[collection_id])


def permit(snapshot: Snapshot) -> None:
    """Make the permissions of all collections that are missing, by their names of today."""
    for collection in snapshot.by_id.values():
        permissions.sync(collection)
