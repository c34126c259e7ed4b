"""Secrets that we must be able to read again, encrypted at rest with a key made of ``SECRET_KEY``.

What is only ever compared (passwords, tokens) is hashed instead.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_SALT = "accounts.mfa"  # under which second factors are stored: the name stays


def seal(text: str) -> str:
    """The text, for the database."""
    return _box(settings.SECRET_KEY).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text again; raises cryptography's InvalidToken if another ``SECRET_KEY`` sealed it."""
    return _box(settings.SECRET_KEY).decrypt(sealed).decode()


@lru_cache(maxsize=2)
def _box(secret_key: str) -> Fernet:
    from cryptography.fernet import Fernet  # 7 MB

    key = salted_hmac(_SALT, "at rest", secret=secret_key, algorithm="sha256").digest()
    return Fernet(urlsafe_b64encode(key))
