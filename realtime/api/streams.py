"""What Django says of ``/api/v1/realtime``: its description, and what other methods than GET are told.

The stream itself is answered before Django is asked (realtime/doors.py).
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.scopes import Keys
from core.errors import NotAcceptable
from core.views import CheckedView
from realtime.sse import PARAMETERS

NEEDS_ASGI = "A stream needs a server that speaks ASGI, such as `manage.py serve`."

_STREAM: dict[str, Any] = {
    "type": "string",
    "description": (
        "Server-sent events: first `connected`, then `record.created`, `record.updated`, `record.deleted`, "
        "`collection.created`, `collection.updated`, `collection.deleted` (for admins), `user.joined`, `user.left`, "
        "and `reset` where there is a gap. The data of each is an object with `type`, `collection`, `record_id`, "
        "`data` and `timestamp`; its id is what to come back with."
    ),
}
_PARAMETERS = [
    OpenApiParameter("query", str, description="A filter in the rule language: `status = 'published'`."),
    OpenApiParameter("token", str, description="A ticket, or an access token, of those who can send no header."),
    OpenApiParameter("user_id", str, description="Under which name to be present, without a token."),
    OpenApiParameter("last_event_id", int, description="Begin after that event, as `Last-Event-ID` does."),
    OpenApiParameter("Last-Event-ID", int, OpenApiParameter.HEADER, description="Go on after that event."),
]


_RESPONSES = {(200, "text/event-stream"): OpenApiResponse(_STREAM, "A stream that goes on.")}


class _View(CheckedView):
    api_keys = Keys.SCOPED
    http_method_names = ["get", "options"]
    parameters = PARAMETERS


class StreamView(_View):
    """Every change that the caller may see, as it is committed."""

    @extend_schema("realtime", parameters=_PARAMETERS, responses=_RESPONSES)
    def get(self, request: Request) -> Response:
        raise NotAcceptable(NEEDS_ASGI)


class CollectionStreamView(_View):
    """Every change in one collection that the caller may see, as it is committed."""

    @extend_schema("realtime_of_a_collection", parameters=_PARAMETERS, responses=_RESPONSES)
    def get(self, request: Request, collection: str) -> Response:
        raise NotAcceptable(NEEDS_ASGI)
