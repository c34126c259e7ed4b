"""What a password must be, and checking one in the same time whoever it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.contrib.auth.hashers import (
    check_password,
    get_hasher,
    identify_hasher,
    is_password_usable,
    make_password,
)
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from rest_framework import serializers

from accounts.models import User
from accounts.models.owned import Account

MAX_LENGTH = 128
_BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")


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


def acceptable(password: str, about: object = None, validators: Sequence[Any] | None = None) -> str:
    """The password, held against Django's validators; the length first, for they are not made for megabytes.

    ``about`` has the attributes that it must not resemble; ``validators`` are
    those of the settings unless given. Raises DRF's ValidationError with every reason.
    """
    if len(password) > MAX_LENGTH:
        raise serializers.ValidationError(f"This password is longer than {MAX_LENGTH} characters.")
    try:
        validate_password(password, about, validators)  # type: ignore[arg-type]
    except ValidationError as fault:
        raise serializers.ValidationError(fault.messages) from fault
    return password


@lru_cache(maxsize=4)
def _nobodys_hash(algorithm: str) -> str:
    return make_password("nobody's password", hasher=algorithm)


def is_right(account: Account | None, password: str) -> bool:
    """Whether it is the account's password; as much work for nobody as for somebody."""
    password = password[: MAX_LENGTH + 1]
    nobodys = _nobodys_hash(get_hasher().algorithm)
    if account is not None and is_password_usable(account.password):
        with suppress(ValueError, IndexError, AssertionError):  # no hash at all, whoever stored it
            return check_password(password, as_django(account.password))
    check_password(password, nobodys)
    return False


def as_django(encoded: str) -> str:
    """A hash as Django writes it: other systems keep bcrypt's and Argon2's own text, with no algorithm before it."""
    if _BCRYPT.fullmatch(encoded):
        return f"bcrypt${encoded}"
    return f"argon2{encoded}" if encoded.startswith("$argon2") else encoded


def is_old(encoded: str) -> bool:
    """Whether new passwords are hashed in another way than this one was."""
    preferred, known = get_hasher(), as_django(encoded)
    return identify_hasher(known).algorithm != preferred.algorithm or preferred.must_update(known)
