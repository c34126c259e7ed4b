"""While ``maintenance_mode`` is on, all but admins are turned away: asked by the front and the sockets.

What stays open says so: health, metrics, static files and the admin by their paths, and the views
that people sign in by as ``open_in_maintenance``, so that an admin always gets in to turn it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import parse_cookie

from accounts import callers, one_time, realms, sessions
from accounts.one_time import Purpose
from accounts.principals import Principal, principal_of
from accounts.scopes import Keys
from accounts.tokens import API_KEY_PREFIX
from core import database, routes
from core.errors import DomainError, ServiceUnavailable, Unauthorized
from core.query_string import parse_query_string
from settings_app import seen, signals
from settings_app.declared import MAINTENANCE, MAINTENANCE_MESSAGE

RETRY_SECONDS = 60
THREADS = 2
_OF_COLLECTIONS = "/api/v1/collections/"  # nobody who signs in there is an admin


class Maintenance:
    """``is_on`` follows the setting, so that a request at any other time costs the look at it."""

    is_on = False

    def __init__(self, always_open: tuple[str, ...]) -> None:
        self._open = (*always_open, *(f"{path}/" for path in settings.SESSION_PATHS))
        self._crew = ThreadPoolExecutor(THREADS, "maintenance")
        self._note()
        signals.seen.connect(self._note)

    async def admit(self, scope: Any, headers: Mapping[bytes, bytes]) -> None:
        """Raise ServiceUnavailable for a request, or the handshake of a socket, that is turned away."""
        path: str = scope["path"]
        if f"{path}/".startswith(self._open):
            return
        if routes.declared(path, "open_in_maintenance") and not path.startswith(_OF_COLLECTIONS):
            return
        look = partial(copy_context().run, _is_admin, headers, scope["query_string"])
        if _shows_something(scope, headers) and await asyncio.get_running_loop().run_in_executor(self._crew, look):
            return
        raise ServiceUnavailable(seen.value(MAINTENANCE_MESSAGE), retry_after=RETRY_SECONDS)

    def close(self) -> None:
        self._crew.shutdown()

    def _note(self, **_: Any) -> None:
        self.is_on = seen.value(MAINTENANCE)


def _shows_something(scope: Any, headers: Mapping[bytes, bytes]) -> bool:
    """Whether there is anything that could be an admin's."""
    return (
        b"authorization" in headers
        or b"x-api-key" in headers
        or settings.SESSION_COOKIE_NAME.encode() in headers.get(b"cookie", b"")
        or b"token=" in scope["query_string"]
    )


def _is_admin(headers: Mapping[bytes, bytes], query: bytes) -> bool:
    """In a thread. What is no good, or can't be looked up, is nobody's."""
    try:
        return _principal(headers, query).is_admin
    except (DomainError, DatabaseError):
        return False
    finally:
        database.close()


def _principal(headers: Mapping[bytes, bytes], query: bytes) -> Principal:
    """Who asks, by whatever any of our doors takes. Nothing is used up: the door comes after."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return _of_token(callers.key_sent(key.decode("latin1")))
    scheme, _, raw = headers.get(b"authorization", b"").decode("latin1").partition(" ")
    if scheme.lower() == "bearer":
        return _of_token(raw.strip())
    cookie = parse_cookie(headers.get(b"cookie", b"").decode("latin1")).get(settings.SESSION_COOKIE_NAME)
    user = sessions.user_of(cookie) if cookie else None
    if user is not None:
        return principal_of(user)
    token = parse_query_string(query.decode("latin1")).get("token", "")
    if token.startswith(API_KEY_PREFIX) or token.count(".") == 2:
        return _of_token(token)
    account = one_time.peek(token, Purpose.TICKET).account
    return realms.of(account).principal(account)


def _of_token(raw: str) -> Principal:
    if not raw:
        raise Unauthorized
    return callers.caller(raw, "GET", Keys.SCOPED)
