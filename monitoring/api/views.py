"""Requests that were answered, for admins."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from collections_app.records import query
from core import clock
from core.permissions import IsAdmin
from core.serializers import StrictSerializer, Text
from core.views import CheckedView
from monitoring import selectors
from monitoring.models import LoggedRequest

_PAGE = frozenset({"page", "per_page"})
_WHOLE, _TEXT = {"type": "integer"}, {"type": "string"}
_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _WHOLE,
        "at": {"type": "string", "format": "date-time"},
        "status": {"type": ["integer", "null"], "description": "null: the client went away first."},
        "ms": {"type": "number"},
        **dict.fromkeys(("method", "path", "address", "who", "request_id"), _TEXT),
    },
    "required": ["id", "at", "method", "path", "status", "ms", "address", "who", "request_id"],
}
_PAGE_OF_ITEMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": _ITEM},
        **dict.fromkeys(("total", "page", "per_page", "total_pages"), _WHOLE),
    },
    "required": ["items", "total", "page", "per_page", "total_pages"],
}


class LogsQuerySerializer(StrictSerializer):
    method = Text(required=False, max_length=10)
    status = serializers.RegexField(r"^[0-9][0-9x]{2}$", required=False, help_text="A number (404) or a class (4xx).")
    path = Text(required=False, max_length=500, help_text="Anywhere in the path, upper or lower case.")
    address = Text(required=False, max_length=64)
    who = Text(required=False, max_length=150, help_text="An account: its collection, a slash and its id.")
    request_id = Text(required=False, max_length=128)
    slower_than = serializers.FloatField(required=False, min_value=0, help_text="Milliseconds.")
    since = serializers.DateTimeField(required=False, default_timezone=UTC)
    until = serializers.DateTimeField(required=False, default_timezone=UTC)

    def validate_status(self, given: str) -> str:
        if "x" in given and not given.endswith("xx"):
            raise serializers.ValidationError("A number (404) or a class (4xx).")
        return given

    def validate_method(self, given: str) -> str:
        return given.upper()


class LogsView(CheckedView, GenericAPIView[Any]):
    """Requests that were answered lately, the newest first: when, what, how, how fast, from where, by whom."""

    permission_classes = (IsAdmin,)
    serializer_class = LogsQuerySerializer
    parameters = _PAGE | LogsQuerySerializer._declared_fields.keys()

    @extend_schema(
        "logs_list",
        request=None,
        parameters=[LogsQuerySerializer, OpenApiParameter("page", int), OpenApiParameter("per_page", int)],
        responses={200: _PAGE_OF_ITEMS},
    )
    def get(self, request: Request) -> Response:
        given = dict(self.query)
        page = query.read({name: given.pop(name) for name in _PAGE & given.keys()}, _PAGE)
        serializer = LogsQuerySerializer(data=given)
        serializer.is_valid(raise_exception=True)
        found = selectors.requests(**serializer.validated_data)
        total, start = found.count(), (page.page - 1) * page.per_page
        return Response(
            {
                "items": [_json(row) for row in found[start : start + page.per_page]],
                "total": total,
                "page": page.page,
                "per_page": page.per_page,
                "total_pages": -(-total // page.per_page),
            }
        )


def _json(row: LoggedRequest) -> dict[str, Any]:
    return {
        "id": row.pk,
        "at": clock.isoformat(row.at),
        "method": row.method,
        "path": row.path,
        "status": row.status or None,
        "ms": row.ms,
        "address": row.address,
        "who": row.who,
        "request_id": row.request_id,
    }
