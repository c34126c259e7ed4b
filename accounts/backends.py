"""Sign-in by e-mail or username for sessions (the admin)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from accounts import passwords, selectors
from accounts.models import User


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
        user = selectors.user_by_identifier(identifier)
        if passwords.is_right(user, password) and user is not None and user.is_active:
            return user
        return None

    def get_user(self, user_id: UUID) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()
