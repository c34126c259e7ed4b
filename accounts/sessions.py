"""Browser sessions of the admin: those that have expired don't pile up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def sweep(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Receiver of ``user_logged_in``: one delete by an index, at a moment that costs a password hash anyway."""
    request.session.clear_expired()
