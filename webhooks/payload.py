"""What a receiver is told of an event: the record as somebody who is no admin may read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from collections_app import events
from collections_app.records.codec import public, visible_fields
from collections_app.schema.definition import CollectionDef
from core import clock
from webhooks.models import NAMES

TEST = "test"


def payload(event: events.Logged, collection: CollectionDef) -> dict[str, Any]:
    """The body of a delivery, as it is documented."""
    return {
        "event": NAMES[event.type],
        "collection": collection.name,
        "record_id": event.record_id,
        "data": _readable(event, collection),
        "timestamp": clock.isoformat(event.timestamp),
    }


def payload_of_test(collection: CollectionDef, moment: datetime) -> dict[str, Any]:
    """The same for a test: there is no record."""
    return {
        "event": TEST,
        "collection": collection.name,
        "record_id": "",
        "data": {},
        "timestamp": clock.isoformat(moment),
    }


def encode(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body)


def _readable(event: events.Logged, collection: CollectionDef) -> dict[str, Any]:
    """The fields that somebody who is no admin may read now, and might have read then.

    What the event calls by the names of an earlier definition is found by the fields' ids: names may
    have been swapped since. What was hidden when it was written stays so.
    """
    if event.data is None:
        return {}
    assert event.revision <= collection.revision, "the definition was looked up before the event"
    earlier = events.definition_at(collection.id, event.revision) if event.revision != collection.revision else None
    if earlier is None:
        return public(collection, event.data, admin=False)
    then = {entry["id"]: entry for entry in earlier["schema"]}
    data: dict[str, Any] = {}
    for field in visible_fields(collection, admin=False):
        if field.system:
            data[field.name] = collection.name if field.storage == "name" else event.data[field.name]
        elif (entry := then.get(field.id)) and not entry.get("hidden") and entry["type"] == field.type:
            data[field.name] = event.data[entry["name"]]
    return data
