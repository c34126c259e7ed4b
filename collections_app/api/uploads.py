"""The uploads of a form, on their way to a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.files.uploadedfile import UploadedFile

from collections_app.files import staging
from collections_app.records import access, query
from collections_app.records.modifiers import split_key
from collections_app.records.operations import Call
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef, Field


@contextmanager
def stored(call: Call, name: str, action: str, body: Any) -> Iterator[Any]:
    """The body with stored names for its uploads; those that no record has kept at the end are gone.

    Whoever may not write here stores nothing: they are refused where everybody is.
    """
    if not isinstance(body, Mapping) or not any(map(_holds_upload, body.values())):
        yield body
        return
    snapshot = registry.latest()
    collection = snapshot.get(name)
    env = call.env(call.wanted(collection, query.SINGLE_PARAMETERS))
    rule = access.rule(collection, action, snapshot)
    asks_for_body = rule is not None and rule.asks_for_body and not call.principal.is_admin
    if not asks_for_body and access.verdict(collection, action, env, snapshot) is False:
        yield body
        return
    with staging.uploaded(body, _fields(collection, body, call, action), call.principal.key) as data:
        yield data


def _holds_upload(value: Any) -> bool:
    return isinstance(value, UploadedFile) or (isinstance(value, list) and any(map(_holds_upload, value)))


def _fields(collection: CollectionDef, body: Mapping[str, Any], call: Call, action: str) -> dict[str, Field]:
    """The file fields that this caller may set, by the keys of the body."""
    found = {}
    for key in body:
        name, modifier = (key, "") if key in collection.by_name else split_key(key)
        field = collection.by_name.get(name)
        if field is None or field.type != "file":
            continue
        # Who creates a record may fill its hidden fields.
        if call.principal.is_admin or not field.hidden or (action == "create" and not modifier):
            found[key] = field
    return found
