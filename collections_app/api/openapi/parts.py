"""Parameters, answers and schemas that many operations share, under their names in ``components``."""

from __future__ import annotations

from typing import Any

from collections_app.records import idempotency, query
from collections_app.records.operations import MAX_BULK
from core import errors

Json = dict[str, Any]

SIGNED_IN: list[Json] = [{"bearer": []}, {"api_key": []}]
SECURITY: list[Json] = [*SIGNED_IN, {}]

READING = (400, 401, 403, 404, 406, 422, 429, 503)
WRITING = (400, 401, 403, 404, 406, 409, 412, 413, 415, 422, 429, 503)

_ANSWERS = {
    400: ("BadRequest", "The request can't be read, or a parameter is unknown or wrong; the message says where."),
    401: ("Unauthorized", "No token or a bad one, or signing in could help."),
    403: ("Forbidden", "The caller is known and has no right to this."),
    404: ("NotFound", "No such thing, or none that the caller may see."),
    405: ("MethodNotAllowed", "Read-only."),
    406: ("NotAcceptable", "`Accept` names nothing that can be answered."),
    409: ("Conflict", "A unique value or name is taken, or the thing is still in use."),
    412: ("PreconditionFailed", "`If-Match` does not match: the record has changed since it was read."),
    413: ("PayloadTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body is in no media type that can be read here."),
    422: ("ValidationFailed", "Well-formed but invalid values; all problems at once, by field."),
    429: ("RateLimited", "Too many requests; `Retry-After` says when to come back."),
    503: ("ServiceUnavailable", "Busy, or the schema is being changed; `Retry-After` says when to come back."),
}


def ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_ref(name: str) -> Json:
    return ref("schemas", name)


def refusals(statuses: tuple[int, ...]) -> dict[str, Json]:
    """The answers of these error statuses, for an operation's ``responses``."""
    return {str(status): ref("responses", _ANSWERS[status][0]) for status in statuses}


def answer(description: str, schema: Json, headers: tuple[str, ...] = ()) -> Json:
    """A JSON answer."""
    found: Json = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        found["headers"] = {name: ref("headers", name) for name in headers}
    return found


def closed(properties: Json, required: list[str] | None = None) -> Json:
    """An object with these keys and no others."""
    found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def components() -> Json:
    """A new dict of all shared components."""
    return {
        "schemas": {
            "Error": _error(),
            "BulkResult": _BULK_RESULT,
            "ImportReport": _IMPORT_REPORT,
            "RecordIds": _RECORD_IDS,
        },
        "responses": {name: _refusal(status) for status, (name, _) in _ANSWERS.items()},
        "parameters": dict(_PARAMETERS),
        "headers": dict(_HEADERS),
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `access_token` that `POST /api/v1/auth/login` answers, or an API key.",
            },
            "api_key": {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
                "description": "A `key` that `POST /api/v1/auth/api-keys` made.",
            },
        },
    }


def _refusal(status: int) -> Json:
    found = answer(_ANSWERS[status][1], schema_ref("Error"))
    if status == 401:
        found["headers"] = {"WWW-Authenticate": ref("headers", "WWW-Authenticate")}
    elif status in (429, 503):
        found["headers"] = {"Retry-After": ref("headers", "Retry-After")}
    return found


def _error() -> Json:
    codes = sorted({kind.code for kind in errors.BY_STATUS.values()})
    return {
        "type": "object",
        "description": "Every refusal has this body.",
        "properties": {
            "success": {"const": False},
            "message": {"type": "string", "description": "A sentence for people."},
            "error_code": {"type": "string", "enum": codes, "description": "Stable: for programs."},
            "errors": {"type": "array", "items": {"type": "string"}, "description": "All problems, as sentences."},
            "fields": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
                "description": "The same problems by field.",
            },
            "detail": {"type": "string", "description": "The message again, where DRF's clients look for it."},
            "request_id": {"type": "string", "description": "Also in `X-Request-ID` and in the logs."},
            "timestamp": {"type": "string", "format": "date-time"},
            "index": {"type": "integer", "description": "In a batch: which request was refused."},
        },
        "required": [
            "success", "message", "error_code", "errors", "fields", "detail", "request_id", "timestamp",
        ],
        "example": {
            "success": False,
            "message": "Validation failed",
            "error_code": "VALIDATION_ERROR",
            "errors": ["price: A valid number is required."],
            "fields": {"price": ["A valid number is required."]},
            "detail": "Validation failed",
            "request_id": "9f2c1d0e7b5a4c3d",
            "timestamp": "2026-01-15T10:00:00Z",
        },
    }  # fmt: skip


_RECORD_IDS: Json = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "maxItems": MAX_BULK,
    "description": f"1 to {MAX_BULK} ids.",
}

_COUNT: Json = {"type": "integer", "minimum": 0}
_IMPORT_REPORT: Json = closed(
    {
        "imported": {**_COUNT, "description": "Rows that are records now; in a dry run those that would be."},
        "updated": {**_COUNT, "description": "Those of them that changed a record (`match`)."},
        "failed": _COUNT,
        "total": _COUNT,
        "errors": {
            "type": "array",
            "description": "By the row's number in the file, where the header is row 1; the first 1,000.",
            "items": closed({"row": {"type": "integer"}, "error": {"type": "string"}}, ["row", "error"]),
        },
    },
    ["imported", "total", "errors", "updated", "failed"],
)
_BULK_RESULT: Json = {
    "type": "object",
    "description": "Each record was tried by itself.",
    "properties": {
        "success": {"type": "integer", "minimum": 0},
        "failed": {"type": "integer", "minimum": 0},
        "errors": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {"record_id": {"type": "string"}, "error": {"type": "string"}},
                "required": ["record_id", "error"],
            },
        },
    },
    "required": ["success", "failed", "errors"],
    "additionalProperties": False,
}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


_PARAMETERS: dict[str, Json] = {
    "page": _query(
        "page",
        "Which page; not together with `cursor`.",
        {"type": "integer", "minimum": 1, "maximum": query.MAX_PAGE, "default": 1},
    ),
    "per_page": _query(
        "per_page",
        "How many on a page.",
        {"type": "integer", "minimum": 1, "maximum": query.MAX_PER_PAGE, "default": query.DEFAULT_PER_PAGE},
    ),
    "filter": _query(
        "filter",
        "An expression that the records must satisfy: `price >= 10 && status = 'published'`. "
        "`= != > >= < <= ~ !~` compare (`~` contains), `?=` and its kin mean any of several, "
        "`&& || !( )` combine, `author.name` follows a relation.",
        {"type": "string", "maxLength": 4000},
    ),
    "search": _query(
        "search",
        "Text to look for anywhere, in either case, in every readable text, editor, markdown, email and url field.",
        {"type": "string", "maxLength": query.MAX_SEARCH},
    ),
    "fields": _query(
        "fields",
        "Which fields to answer, by commas: `id,title,expand.author.name`; `*` is all of them, "
        "`body:excerpt(200)` the first 200 characters without markup.",
        {"type": "string"},
    ),
    "skip_total": _query(
        "skip_total",
        "Spare the count: `total` and `total_pages` are -1.",
        {"type": "boolean", "default": False},
    ),
    "cursor": _query(
        "cursor",
        "Paging of any depth: empty for the first page, then the `next_cursor` of the page before. "
        "Not together with `page`.",
        {"type": "string"},
    ),
    "If-Match": _header("If-Match", "Change it only if its `ETag` is still one of these; else 412."),
    "If-None-Match": _header("If-None-Match", "The `ETag` that the caller has; 304 if it still holds."),
    "Idempotency-Key": _header(
        "Idempotency-Key",
        "Any text of the caller's: the same request with the same key has one effect and one answer for 24 hours.",
        minLength=1,
        maxLength=idempotency.MAX_KEY,
        pattern="^[!-~]+$",
    ),
}

_HEADERS: dict[str, Json] = {
    "ETag": {"description": "Names the state of the record, for If-Match.", "schema": {"type": "string"}},
    "Location": {"description": "Where the job is looked at.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}
