"""The first account of an installation: who may make it, and only once.

In development whoever comes first becomes superadmin. In production they also
need the one-time token that the server printed when it started.
"""

from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.db import connection

from accounts.models import SetupToken, User
from core.errors import BadRequest, Forbidden


def is_open() -> bool:
    """Whether no account was ever made. A deleted account counts: its owner was here first."""
    return not User.all_objects.exists()


def new_token() -> str:
    """A token for the set-up page; it replaces the earlier one, and only its hash is kept."""
    token = secrets.token_urlsafe(24)
    SetupToken.objects.all().delete()
    SetupToken.objects.create(digest=_digest(token))
    return token


def claim(token: str) -> bool:
    """Inside the transaction that makes an account: is it the first, and allowed to be?

    Everybody else waits until the transaction ends, so only one can be first.
    Raises Forbidden without the token where one is needed, BadRequest for a wrong one.
    """
    if not is_open():
        return False
    if connection.vendor == "postgresql":  # SQLite's transactions are exclusive from their start
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        if not is_open():
            return False
    if settings.PRODUCTION:
        if not token:
            raise Forbidden("The first account needs the set-up token that the server printed at its start.")
        used, _ = SetupToken.objects.filter(digest=_digest(token)).delete()
        if not used:
            raise BadRequest("This set-up token is wrong or has been used.")
    return True


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
