"""The paths and schemas of ``/api/v1/collections/export`` and ``/import``."""

from __future__ import annotations

from typing import Any

from collections_app.api.openapi.parts import (
    READING,
    SECURITY,
    SIGNED_IN,
    WRITING,
    Json,
    answer,
    closed,
    refusals,
    schema_ref,
)
from collections_app.schema.service import MAX_COLLECTIONS

_TEXT: Json = {"type": "string"}
_FLAGS = {
    "dry_run": "Answer the plan, meet what is in the way, and leave everything as it is.",
    "delete_missing": "Drop the collections that the document does not have.",
    "allow_data_loss": "Do it even if records or values are lost.",
}


def schemas() -> dict[str, Json]:
    change = closed(
        {
            "change": {
                "type": "string",
                "enum": [
                    "rename", "add_field", "remove_field", "rename_field", "change_field", "reorder", "change_rule",
                    "change",
                ],
            },
            "name": {**_TEXT, "description": "Of the field, or the key of the collection."},
            "before": {},
            "after": {},
            "text": {**_TEXT, "description": "The same in words."},
        },
        ["change", "name", "before", "after", "text"],
    )  # fmt: skip
    step = closed(
        {
            "action": {"type": "string", "enum": ["create", "update", "delete"]},
            "collection": {**_TEXT, "description": "Its name before."},
            "id": _TEXT,
            "text": _TEXT,
            "changes": {"type": "array", "items": change},
        },
        ["action", "collection", "id", "text", "changes"],
    )
    return {
        "Schema": {
            "type": "object",
            "description": "All collections, referring to each other by name.",
            "properties": {
                "collections": {
                    "type": "array",
                    "maxItems": MAX_COLLECTIONS,
                    "items": {"type": "object", "properties": {"name": _TEXT}, "required": ["name"]},
                }
            },
            "required": ["collections"],
            "additionalProperties": False,
        },
        "SchemaPlan": closed({"plan": {"type": "array", "items": step}}, ["plan"]),
    }


def paths() -> dict[str, Json]:
    flags = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "boolean", "default": False}}
        for name, text in _FLAGS.items()
    ]
    return {
        "/api/v1/collections/export": {
            "get": _operation(
                "exportSchema",
                "Take the schema elsewhere",
                {"200": answer("All collections.", schema_ref("Schema")), **refusals(READING)},
                security=SECURITY,
            )
        },
        "/api/v1/collections/import": {
            "post": _operation(
                "importSchema",
                "Make the schema that of a document",
                {
                    "200": answer("What was changed; in a dry run what would be.", schema_ref("SchemaPlan")),
                    **refusals(WRITING),
                },
                security=SIGNED_IN,
                description="In one transaction. Collections and fields of the same id, else of the same name, are "
                "changed and keep their data; the others are made.",
                parameters=flags,
                requestBody={"required": True, "content": {"application/json": {"schema": schema_ref("Schema")}}},
            )
        },
    }


def _operation(operation_id: str, summary: str, responses: Json, **more: Any) -> Json:
    return {"tags": ["Collections"], "operationId": operation_id, "summary": summary, **more, "responses": responses}
