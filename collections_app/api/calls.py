"""DRF requests as calls, answers as DRF responses."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework.request import Request
from rest_framework.response import Response

from collections_app.records.operations import Answer, Call
from collections_app.schema.definition import CollectionDef
from core import json
from core.errors import BadRequest


def call_of(request: Request) -> Call:
    headers = request.headers
    return Call(
        principal=request.user,  # type: ignore[arg-type]
        method=str(request.method),
        query_string=request.META.get("QUERY_STRING", ""),
        if_match=headers.get("If-Match"),
        if_none_match=headers.get("If-None-Match"),
        idempotency_key=headers.get("Idempotency-Key"),
        caller=request.META.get("REMOTE_ADDR", ""),
        path=request.path.rstrip("/"),
    )


def respond(answer: Answer) -> Response:
    return Response(answer.body if answer.body else None, status=answer.status, headers=dict(answer.headers))


def body_of(request: Request, collection: CollectionDef | None = None) -> Any:
    """The request's data as JSON values; a form's texts become what its fields hold."""
    data = request.data
    if not isinstance(data, QueryDict):
        return data
    values: dict[str, Any] = {}
    for name in data:
        items = data.getlist(name)
        field = collection.by_name.get(name.strip("+-")) if collection else None
        if field is not None and field.multiple:
            values[name] = items[0] if len(items) == 1 else [item for item in items if item != ""]
        elif len(items) > 1:
            raise BadRequest(f"The field {name[:50]!r} stands more than once.")
        elif field is not None and field.value == "json" and isinstance(items[0], str) and items[0].strip():
            values[name] = json.loads(items[0].encode())
        else:
            values[name] = items[0]
    values.pop("csrfmiddlewaretoken", None)
    return values
