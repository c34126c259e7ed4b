"""What a password must be, and checking one in the same time whoever it is for."""

from __future__ import annotations

from functools import lru_cache

from django.contrib.auth.hashers import check_password, get_hasher, make_password
from django.core.exceptions import ValidationError

from accounts.models import User

MAX_LENGTH = 128


class MaximumLengthValidator:
    """Refuses passwords longer than 128 characters: hashing has a price."""

    def validate(self, password: str, user: User | None = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(
                f"This password is too long. It must contain at most {MAX_LENGTH} characters.",
                code="password_too_long",
            )

    def get_help_text(self) -> str:
        return f"Your password must contain at most {MAX_LENGTH} characters."


@lru_cache(maxsize=4)
def _nobodys_hash(algorithm: str) -> str:
    return make_password("nobody's password", hasher=algorithm)


def check_password_always(user: User | None, password: str) -> bool:
    """Whether it is the password of ``user``; as slow for nobody as for somebody."""
    password = password[: MAX_LENGTH + 1]
    if user is None or not user.has_usable_password():
        check_password(password, _nobodys_hash(get_hasher().algorithm))
        return False
    return user.check_password(password)
