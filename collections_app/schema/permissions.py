"""Django permissions of collections, so that groups can be given rights on them.

They hang on the content type ``collections_app | c_<id>``: names change, they don't.
"""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from collections_app.schema.definition import CollectionDef

ACTIONS = ("view", "add", "change", "delete")


def _content_type(collection: CollectionDef) -> ContentType:
    found, _ = ContentType.objects.get_or_create(app_label="collections_app", model=f"c_{collection.id}")
    return found


def sync(collection: CollectionDef) -> None:
    """Make the collection's permissions, or bring their names up to date."""
    content_type = _content_type(collection)
    for action in ACTIONS:
        Permission.objects.update_or_create(
            content_type=content_type,
            codename=f"{action}_c_{collection.id}",
            defaults={"name": f"Can {action} {collection.name}"[:255]},
        )


def remove(collection: CollectionDef) -> None:
    """Take the permissions away, from every group too."""
    _content_type(collection).delete()
