"""Sign-in by e-mail or username for sessions (the admin)."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from accounts import realms, sign_in
from accounts.models import User
from core.errors import Unauthorized


class AccountBackend(BaseBackend):
    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        identifier = username or kwargs.get(User.USERNAME_FIELD)
        if not isinstance(identifier, str) or not isinstance(password, str):
            return None
        try:
            user = cast(User, sign_in.identify(realms.staff(), identifier, password))
        except Unauthorized:
            return None
        return user if user.is_active else None

    def get_user(self, user_id: UUID) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()
