"""Browser sessions: none is opened without the second factor of its account, and old ones don't pile up."""

from __future__ import annotations

from typing import Any

from django.contrib import auth
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from accounts.models import User
from core.errors import Forbidden


class SecondFactorNeeded(Forbidden):
    """A password was right, and the account asks for a code too."""

    default_message = "This account signs in with a code besides its password."

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user


def ask_for_second_factor(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Receiver of ``user_logged_in``: whichever way a session was opened, it is closed again without the code."""
    if user.two_fa_enabled and not user.second_factor_shown:
        request.session.flush()
        request.user = AnonymousUser()
        raise SecondFactorNeeded(user)


def keep(request: HttpRequest, user: User) -> None:
    """Let the session in which an account changes what its sessions rest on go on, under a new key.

    Django's ``update_session_auth_hash`` asks ``request.user``, which DRF has made a principal.
    """
    request.session.cycle_key()
    request.session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()


def user_of(session_key: str) -> User | None:
    """Who is signed in there by now; nobody once it has ended, or what it rests on has changed."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    found = auth.get_user(request)
    return found if isinstance(found, User) else None


def sweep(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Receiver of ``user_logged_in``: one delete by an index, at a moment that costs a password hash anyway."""
    request.session.clear_expired()
