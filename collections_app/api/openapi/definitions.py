"""The paths and schemas of ``/api/v1/collections`` and ``/api/v1/batch``."""

from __future__ import annotations

from typing import Any

from collections_app.api.collections import DEFAULT_PER_PAGE
from collections_app.api.openapi import jobs, schema_moves
from collections_app.api.openapi.audience import Audience
from collections_app.api.openapi.parts import (
    READING,
    SECURITY,
    SIGNED_IN,
    WRITING,
    Json,
    answer,
    closed,
    components,
    ref,
    refusals,
    schema_ref,
)
from collections_app.records.operations import MAX_BATCH
from collections_app.schema import fields as field_types
from collections_app.schema import password_rules
from collections_app.schema.definition import MAX_FIELDS, MAX_INDEXES, RULES, TYPES
from collections_app.schema.reading import DEFAULT_CACHE_TTL, MAX_CACHE_TTL
from collections_app.sql_views.grammar import MAX_CHARACTERS
from collections_app.sql_views.previewing import MAX_ROWS

TAGS: list[Json] = [
    {"name": "Collections", "description": "What there is and what it looks like. Changes are for admins."},
    {"name": "Batch", "description": "Many writes, all or none."},
    jobs.TAG,
]

_NAME: Json = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
_FLAG: Json = {"type": "boolean"}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_MOMENT: Json = {"type": ["string", "null"], "format": "date-time", "readOnly": True}
_COUNT: Json = {"type": "integer", "minimum": 1}
_BOUND: Json = {"type": ["number", "string", "null"]}
_LENGTH: Json = {"type": ["integer", "null"], "minimum": 0}

# The options of a type, beside ``validation``, under the key that its FieldType names.
_OPTIONS: dict[str, Json] = {
    "select": closed({"values": {**_TEXTS, "minItems": 1, "uniqueItems": True}, "max_select": _COUNT}, ["values"]),
    "relation": closed(
        {
            "collection_id": {"type": "string", "description": "The other collection, by name or id."},
            "type": {"type": "string", "enum": ["many-to-one", "one-to-one", "many-to-many"]},
            "cascade_delete": _FLAG,
            "display_fields": _TEXTS,
            "max_select": _COUNT,
            "min_select": {"type": ["integer", "null"]},
        },
        ["collection_id"],
    ),
    "file": closed(
        {
            "max_files": _COUNT,
            "max_size": {**_COUNT, "description": "Bytes."},
            "mime_types": _TEXTS,
            "thumbs": _TEXTS,
            "protected": _FLAG,
        }
    ),
    "decimal": closed({"places": {"type": ["integer", "null"], "minimum": 0, "maximum": 15}}),
    "autodate": closed({"on_create": _FLAG, "on_update": _FLAG}),
}

_VALIDATION: Json = closed(
    {
        "required": _FLAG,
        "unique": _FLAG,
        "default": {},
        "min": _BOUND,
        "max": _BOUND,
        "min_length": _LENGTH,
        "max_length": _LENGTH,
        "pattern": {"type": ["string", "null"]},
        "max_size": {"type": ["integer", "null"], "minimum": 1},
    }
)


def schemas(audience: Audience) -> dict[str, Json]:
    found = {
        "BatchInput": _batch_input(),
        "BatchResult": _batch_result(),
        "CollectionOutline": _outline(),
        "CollectionOutlinePage": _page("CollectionOutline"),
        **jobs.schemas(),
    }
    if audience.admin:
        found |= {
            "Field": _field(),
            "FieldInput": _field_input(),
            "Collection": _collection(),
            "CollectionInput": {**_collection_input(), "required": ["name"]},
            "CollectionChange": _collection_input(),
            "CollectionPage": _page("Collection"),
            "ViewPreviewInput": _preview_input(),
            "ViewPreview": _preview(),
            **schema_moves.schemas(),
        }
    return found


def paths(audience: Audience) -> dict[str, Json]:
    name = {
        "name": "collection",
        "in": "path",
        "required": True,
        "description": "Its name or id.",
        "schema": {"type": "string"},
    }
    shown = "Collection" if audience.admin else "CollectionOutline"
    many: Json = {
        "get": _operation(
            "listCollections",
            "List collections",
            {
                "200": answer("For admins all; for others those that they may list.", schema_ref(f"{shown}Page")),
                **refusals(READING),
            },
            parameters=_paging(),
        )
    }
    one: Json = {
        "parameters": [name],
        "get": _operation(
            "getCollection",
            "Get a collection",
            {"200": answer("The collection.", schema_ref(shown)), **refusals(READING)},
        ),
    }
    if audience.admin:
        many["post"] = _operation(
            "createCollection",
            "Create a collection",
            {"201": answer("The collection; its endpoints are there.", schema_ref("Collection")), **refusals(WRITING)},
            description="Its table, REST API and rules are there at once. A rule that is left out is admins only; "
            "`null` is everyone.",
            security=SIGNED_IN,
            requestBody=_json_body("CollectionInput"),
        )
        one |= {"put": _change("replaceCollection"), "patch": _change("updateCollection"), "delete": _DELETE}
    views: Json = {}
    if audience.admin:
        views = {
            "/api/v1/collections/preview_view": {"post": _PREVIEW},
            "/api/v1/collections/{collection}/refresh": {"parameters": [name], "post": _REFRESH},
        }
    batch = _operation(
        "batch",
        "Many writes in one transaction",
        {"200": answer("All was done.", schema_ref("BatchResult")), **refusals(WRITING)},
        description="All of them, or one error with the `index` of the request that was refused, and nothing done.",
        tags=["Batch"],
        parameters=[ref("parameters", "Idempotency-Key")],
        requestBody=_json_body("BatchInput"),
    )
    return {
        **(schema_moves.paths() if audience.admin else {}),
        "/api/v1/collections": many,
        "/api/v1/collections/{collection}": one,
        **views,
        "/api/v1/batch": {"post": batch},
        **jobs.paths(),
    }


def _paging() -> list[Json]:
    shared = components()["parameters"]
    per_page = shared["per_page"]
    page = {**shared["page"], "description": "Which page."}
    return [page, {**per_page, "schema": {**per_page["schema"], "default": DEFAULT_PER_PAGE}}]


def _operation(operation_id: str, summary: str, responses: Json, **more: Any) -> Json:
    return {
        "tags": ["Collections"],
        "operationId": operation_id,
        "summary": summary,
        "security": SECURITY,
        **more,
        "responses": responses,
    }


def _json_body(schema_name: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema_ref(schema_name)}}}


def _change(operation_id: str) -> Json:
    return _operation(
        operation_id,
        "Change a collection",
        {"200": answer("The collection as it is now.", schema_ref("Collection")), **refusals(WRITING)},
        description="Keys that are left out stay; `schema` is the whole list of fields, and a field keeps its data "
        "by its `id`. A change that would lose data is refused with the count and examples.",
        security=SIGNED_IN,
        parameters=[
            {
                "name": "allow_data_loss",
                "in": "query",
                "description": "Do it even if data is lost.",
                "schema": {"type": "boolean", "default": False},
            }
        ],
        requestBody=_json_body("CollectionChange"),
    )


_DELETE = _operation(
    "deleteCollection",
    "Drop a collection with all its records",
    {"204": {"description": "It is gone."}, **refusals(WRITING)},
    security=SIGNED_IN,
)


_REFRESH = _operation(
    "refreshView",
    "Forget the rows that are kept of a view",
    {"204": {"description": "They are gone."}, **refusals(WRITING)},
    security=SIGNED_IN,
)

_PREVIEW = _operation(
    "previewView",
    "Try the query of a view",
    {"200": answer("Its columns, and its first rows.", schema_ref("ViewPreview")), **refusals(WRITING)},
    description="What is wrong with the query is told with its `position`: line, column and word.",
    security=SIGNED_IN,
    requestBody=_json_body("ViewPreviewInput"),
)


# -- schemas ----------------------------------------------------------------
def _field_type() -> Json:
    return {"type": "string", "enum": field_types.names()}


def _field() -> Json:
    properties = {
        "id": {"type": "string", "description": "Stable: a rename keeps it, and with it the data."},
        "name": _NAME,
        "type": _field_type(),
        "validation": _VALIDATION,
        "hidden": {**_FLAG, "description": "Seen by admins only."},
        "help": {"type": "string"},
    }
    required = list(properties)
    return closed({**properties, **{key: {"type": "object"} for key in _OPTIONS}}, required)


def _field_input() -> Json:
    return closed(
        {
            "id": {"type": "string", "description": "Of the field that is there already; left out for a new one."},
            "name": _NAME,
            "type": _field_type(),
            "validation": _VALIDATION,
            "hidden": _FLAG,
            "help": {"type": ["string", "null"], "maxLength": 2000},
            **_OPTIONS,
        },
        ["name", "type"],
    )


def _index() -> Json:
    return closed({"fields": {**_TEXTS, "minItems": 1, "maxItems": 8}, "unique": _FLAG}, ["fields"])


def _rules() -> Json:
    return {
        key: {
            "type": ["string", "null"],
            "description": "An expression; null is everyone.",
            "minLength": 1,
            "maxLength": 4000,
        }
        for key in RULES
    }


def _options() -> Json:
    length = {"type": ["integer", "null"], "minimum": password_rules.MIN_LENGTH, "maximum": password_rules.MAX_LENGTH}
    password = closed(
        {
            "min_length": length,
            "max_length": length,
            **{key: {"type": ["boolean", "null"]} for key in password_rules.FLAGS},
            "require": {"type": ["array", "null"], "items": {"type": "string", "enum": list(password_rules.KINDS)}},
        }
    )
    return closed(
        {
            "search": {**_TEXTS, "description": "Fields with a full-text index."},
            "password": {**password, "description": "What passwords of an auth collection must be."},
        }
    )


def _collection_input() -> Json:
    return closed(
        {
            "name": _NAME,
            "type": {"type": "string", "enum": list(TYPES), "default": "base"},
            "schema": {"type": "array", "items": schema_ref("FieldInput"), "maxItems": MAX_FIELDS},
            **_rules(),
            "indexes": {"type": "array", "items": _index(), "maxItems": MAX_INDEXES},
            "options": _options(),
            **_of_views(),
        }
    )


def _collection() -> Json:
    properties = {
        "id": {"type": "string", "readOnly": True},
        "name": _NAME,
        "type": {"type": "string", "enum": list(TYPES)},
        "schema": {"type": "array", "items": schema_ref("Field")},
        **_rules(),
        "indexes": {"type": "array", "items": _index()},
        "options": _options(),
        "system": {**_FLAG, "readOnly": True},
        "created": _MOMENT,
        "updated": _MOMENT,
    }
    return closed({**properties, **_of_views()}, list(properties))


def _of_views() -> Json:
    return {
        "view_query": {
            "type": ["string", "null"],
            "maxLength": MAX_CHARACTERS,
            "description": "Of a view: a SELECT over other collections, which also says its fields.",
        },
        "cache_ttl": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": MAX_CACHE_TTL,
            "description": f"Of a view: for how many seconds its rows are kept; {DEFAULT_CACHE_TTL} where left out.",
        },
    }


def _preview_input() -> Json:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": MAX_ROWS}
    return {
        **closed({"view_query": {"type": "string", "maxLength": MAX_CHARACTERS}, "limit": limit}, ["view_query"]),
        "example": {"view_query": "SELECT count(*) AS records FROM records"},
    }


def _preview() -> Json:
    column = {"type": "object", "properties": {"name": _NAME, "type": _field_type()}, "required": ["name", "type"]}
    properties: Json = {
        "columns": {"type": "array", "items": column},
        "items": {"type": "array", "items": {"type": "object"}},
        "duration_ms": {"type": "number", "minimum": 0},
    }
    return closed(properties, list(properties))


def _outline() -> Json:
    field = closed({"name": {"type": "string"}, "type": _field_type()}, ["name", "type"])
    return closed({"name": {"type": "string"}, "schema": {"type": "array", "items": field}}, ["name", "schema"])


def _page(item: str) -> Json:
    number = {"type": "integer", "minimum": 0}
    properties: Json = {
        "items": {"type": "array", "items": schema_ref(item)},
        "total": number,
        "page": number,
        "per_page": number,
        "total_pages": number,
    }
    return closed(properties, list(properties))


def _batch_input() -> Json:
    request = closed(
        {
            "method": {
                "type": "string",
                "enum": ["POST", "PATCH", "PUT", "DELETE"],
                "description": "PUT updates or creates.",
            },
            "collection": {"type": "string", "description": "Its name or id."},
            "id": {"type": "string", "description": "Of the record; optional with POST."},
            "data": {"type": "object", "description": "The record's fields."},
        },
        ["method", "collection"],
    )
    requests = {"type": "array", "items": request, "minItems": 1, "maxItems": MAX_BATCH}
    return {
        **closed({"requests": requests}, ["requests"]),
        "example": {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "Hello"}}]},
    }


def _batch_result() -> Json:
    one = closed(
        {"status": {"type": "integer", "enum": [200, 201, 204]}, "record": {"type": ["object", "null"]}},
        ["status", "record"],
    )
    return closed({"results": {"type": "array", "items": one}}, ["results"])
