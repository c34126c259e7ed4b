"""DRF's way to a principal: an API key, a bearer token, or the session of the browsable API."""

from __future__ import annotations

from typing import cast

from rest_framework import authentication
from rest_framework.request import Request

from accounts import callers
from accounts.principals import ANONYMOUS, Principal, principal_of
from accounts.scopes import Keys


def anonymous() -> Principal:
    return ANONYMOUS


def principal(request: Request) -> Principal:
    """Who is asking, by token or by session; what ``request.user`` is on every DRF request."""
    return cast(Principal, request.user)


class TokenAuthentication(authentication.BaseAuthentication):
    """``X-API-Key: <key>``, else ``Authorization: Bearer <token or key>``.

    ``request.user`` is the principal, ``request.auth`` what was sent. What keys may
    do in a view is its ``api_keys``, of :class:`accounts.scopes.Keys`.
    """

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        key = request.META.get("HTTP_X_API_KEY")
        if key is None:
            scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
            raw = raw.strip()
        else:
            raw = callers.key_sent(key)
        view = request.parser_context.get("view")
        return callers.caller(raw, str(request.method), getattr(view, "api_keys", Keys.WHOLE)), raw

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """A signed-in browser; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        found = super().authenticate(request)
        return (principal_of(found[0]), None) if found else None
