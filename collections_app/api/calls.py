"""DRF requests as calls, answers as DRF responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import QueryDict
from rest_framework.request import Request
from rest_framework.response import Response

from collections_app.records.operations import Answer, Call


def call_of(request: Request) -> Call:
    meta = request.META
    return Call(
        principal=request.user,  # type: ignore[arg-type]
        method=str(request.method),
        query_string=meta.get("QUERY_STRING", ""),
        if_match=meta.get("HTTP_IF_MATCH"),
        if_none_match=meta.get("HTTP_IF_NONE_MATCH"),
        idempotency_key=meta.get("HTTP_IDEMPOTENCY_KEY"),
        caller=meta.get("REMOTE_ADDR", ""),
        path=request.path.rstrip("/"),
    )


def respond(answer: Answer) -> Response:
    return Response(answer.body or None, status=answer.status, headers=answer.headers)


def body_of(request: Request, read_form: Callable[[QueryDict], dict[str, Any]]) -> Any:
    """The request's data as JSON values; a form is read by ``read_form``."""
    data = request.data
    return read_form(data) if isinstance(data, QueryDict) else data
