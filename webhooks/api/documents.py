"""What the endpoints of webhooks answer, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from webhooks.models import EVENTS, Delivery, Webhook
from webhooks.payload import TEST

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer"}
_MOMENT: Json = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
_WHOLE_OR_NULL: Json = {"type": ["integer", "null"]}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _page(item: Json) -> Json:
    return _object(
        {
            "items": {"type": "array", "items": item},
            **dict.fromkeys(("total", "page", "per_page", "total_pages"), _WHOLE),
        }
    )


WEBHOOK = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "url": _TEXT,
        "collection_name": _TEXT,
        "events": {"type": "array", "items": {"type": "string", "enum": list(EVENTS)}},
        "active": {"type": "boolean"},
        "retry_count": _WHOLE,
        "has_secret": {"type": "boolean"},
        "ended": {
            "type": ["string", "null"],
            "enum": [*Webhook.Ended.values, None],
            "description": "Why nothing is sent any more: all attempts failed, or the address answered 410 Gone.",
        },
        "created": _MOMENT,
        "updated": _MOMENT,
    }
)
NEW_WEBHOOK: Json = {
    **WEBHOOK,
    "properties": {
        **WEBHOOK["properties"],
        "secret": {"type": "string", "description": "The one that was made; shown this once."},
    },
}
WEBHOOKS = _page(WEBHOOK)
SECRET = _object(
    {
        "secret": {"type": "string", "description": "Shown this once."},
        "previous_valid_until": {**_MOMENT_OR_NULL, "description": "Until then the one before is signed with too."},
    }
)
_LISTED: Json = {
    "id": _WHOLE,
    "event_id": {**_WHOLE_OR_NULL, "description": "In the event log; null for a test."},
    "event": {"type": "string", "enum": [*EVENTS, TEST]},
    "status": {"type": "string", "enum": list(Delivery.Status.values)},
    "attempt": {"type": "integer", "description": "How many were begun."},
    "response_status": {**_WHOLE_OR_NULL, "description": "Of the last attempt; null without an answer."},
    "error": {"type": ["string", "null"]},
    "next_attempt_at": _MOMENT_OR_NULL,
    "created": _MOMENT,
}
DELIVERIES = _page(_object(_LISTED))
DELIVERY = _object(
    {
        **_LISTED,
        "record_id": {"type": ["string", "null"]},
        "response_body": {"type": "string", "description": "Of the last answer, the beginning."},
        "duration_ms": _WHOLE_OR_NULL,
        "finished": _MOMENT_OR_NULL,
        "payload": {"type": ["object", "null"], "description": "What is sent; null where the log has it no more."},
    }
)
REPLAYED = _object({"count": {"type": "integer", "description": "How many are sent again."}})
