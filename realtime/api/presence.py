"""``/api/v1/presence``: who is online."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import principal
from core.query_string import MAX_LENGTH, SLICE, slice_of
from core.views import CheckedView
from realtime import attendance, names, presence

_TEXT = {"type": "string"}
_USER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "user_id": _TEXT,
        "user_name": _TEXT,
        "connections": {"type": "integer", "minimum": 1},
        "last_seen": {"type": "string", "format": "date-time"},
        "verified": {"type": "boolean", "description": "Whether a token says so; else it is what a client says."},
    },
    "required": ["user_id", "user_name", "connections", "last_seen", "verified"],
}
_USERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "users": {"type": "array", "items": _USER},
        "count": {"type": "integer", "description": "Of all who are online and shown to the caller."},
    },
    "required": ["users", "count"],
}
_ONE: dict[str, Any] = {
    "type": "object",
    "properties": {"user_id": _TEXT, "presence": {"anyOf": [_USER, {"type": "null"}]}, "online": {"type": "boolean"}},
    "required": ["user_id", "presence", "online"],
}
_PART = [OpenApiParameter(name, int) for name in sorted(SLICE)]


class PresencesView(CheckedView):
    """Who is online, at most 1,000 at a time. Verified users are shown to signed-in callers only."""

    parameters = SLICE

    @extend_schema("presence_list", parameters=_PART, responses={200: _USERS})
    def get(self, request: Request) -> Response:
        part, viewer = slice_of(self.query, default=MAX_LENGTH), principal(request)
        users, count = attendance.ask(lambda reader: presence.online(reader, viewer, part))
        return Response({"users": users, "count": count})


class PresenceView(CheckedView):
    """Whether somebody is online."""

    @extend_schema("presence", responses={200: _ONE})
    def get(self, request: Request, user_id: str) -> Response:
        names.checked(user_id, "user_id", names.MAX_USER_ID)
        viewer = principal(request)
        found = attendance.ask(lambda reader: presence.of(reader, viewer, user_id))
        return Response({"user_id": user_id, "presence": found, "online": found is not None})
