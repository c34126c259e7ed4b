"""``POST /api/v1/realtime/ticket``: a way in for those who can send no header, without a token in a URL."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import realms, tokens
from accounts.api.serializers import NothingSerializer
from accounts.authentication import principal
from accounts.one_time import LIFETIMES, Purpose
from accounts.scopes import Keys
from core.errors import Unauthorized
from core.views import CheckedView
from realtime import callers

_TICKET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ticket": {"type": "string", "description": "For `?token=` of a stream or a WebSocket, once."},
        "expires_in": {"type": "integer", "description": "Seconds."},
    },
    "required": ["ticket", "expires_in"],
}


class TicketView(CheckedView):
    """A ticket for one stream or WebSocket, which lives as long as the sign-in that asks for it may.

    ``EventSource`` and ``WebSocket`` of browsers send no headers, and a token in an address ends
    up in logs. API keys need none: programs send headers.
    """

    api_keys = Keys.NONE

    @extend_schema("realtime_ticket", request=None, responses={200: _TICKET})
    def post(self, request: Request) -> Response:
        caller = principal(request)
        if not caller.is_authenticated:
            raise Unauthorized
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        realm = realms.get(caller.collection_id or caller.collection)
        account = realm.get(caller.id)
        if account is None or not account.is_active:
            raise Unauthorized
        if isinstance(request.auth, str):
            sign_in_id = tokens.sign_in_of(realm, request.auth)
            if sign_in_id is None:
                raise Unauthorized
            ticket = callers.ticket_for_sign_in(account, sign_in_id)
        else:
            ticket = callers.ticket_for_session(account, str(request._request.session.session_key))
        return Response({"ticket": ticket, "expires_in": int(LIFETIMES[Purpose.TICKET].total_seconds())})
