"""The collection that is there from the first start: ``records``, plain content.

Its ids are fixed, so that its definition fits its table also when the row that
described it was flushed away.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.principals import SYSTEM
from collections_app.models import Collection, SchemaEpoch
from collections_app.schema import registry, service

_PUBLISHED = "@record.is_published = true"
_DEFINITION: dict[str, Any] = {
    "name": "records",
    "type": "base",
    "schema": [
        {"id": "ftitle", "name": "title", "type": "text", "validation": {"required": True, "max_length": 500}},
        {"id": "fdescription", "name": "description", "type": "text"},
        {"id": "fcontent", "name": "content", "type": "markdown"},
        {"id": "ftags", "name": "tags", "type": "json"},
        {"id": "fcategories", "name": "categories", "type": "json"},
        {"id": "fuser", "name": "user", "type": "text"},
        {"id": "fispublished", "name": "is_published", "type": "bool"},
    ],
    "list_rule": _PUBLISHED,
    "view_rule": _PUBLISHED,
}


def ensure_builtin(sender: Any, using: str, **kwargs: Any) -> None:
    """Receiver of ``post_migrate``: complete what is missing, touch nothing that is there.

    Migrations that run in a transaction are committed first: making a collection is one of its own.
    """
    if using == "default":
        transaction.on_commit(_complete)


def _complete() -> None:
    SchemaEpoch.objects.get_or_create(pk=1)
    if not Collection.objects.filter(name="records").exists():
        registry.forget()
        service.collection_create(actor=SYSTEM, payload=_DEFINITION, builtin_id="records")
