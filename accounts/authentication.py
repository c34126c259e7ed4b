"""DRF's way to a principal: a bearer token, or the session of the browsable API."""

from __future__ import annotations

from typing import cast

from rest_framework import authentication
from rest_framework.request import Request

from accounts import tokens
from accounts.principals import ANONYMOUS, Principal, principal_of


def anonymous() -> Principal:
    return ANONYMOUS


def principal(request: Request) -> Principal:
    """Who is asking, by token or by session; what ``request.user`` is on every DRF request."""
    return cast(Principal, request.user)


class TokenAuthentication(authentication.BaseAuthentication):
    """``Authorization: Bearer <token>``; ``request.user`` is the principal, ``request.auth`` the token."""

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        raw = raw.strip()
        return tokens.principal_from_token(raw), raw

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """A signed-in browser; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        found = super().authenticate(request)
        return (principal_of(found[0]), None) if found else None
