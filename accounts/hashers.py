"""Django's password hashers, hashing where :mod:`core.hashing` says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.auth import hashers

from core import hashing

if TYPE_CHECKING:
    _Hasher = hashers.BasePasswordHasher
else:
    _Hasher = object

BCRYPT_BYTES = 72  # of a password: bcrypt has never looked further, and its library refuses what is longer


class _InCrew(_Hasher):
    def encode(self, *args: Any, **kwargs: Any) -> str:
        return hashing.run(partial(super().encode, *args, **kwargs))

    def verify(self, *args: Any, **kwargs: Any) -> bool:
        return hashing.run(partial(super().verify, *args, **kwargs))


class Argon2PasswordHasher(_InCrew, hashers.Argon2PasswordHasher):
    """Argon2id as OWASP recommends it: 19 MiB, two passes, one lane; a third of what bcrypt costs with cost 10.
    Django's 100 MiB in eight threads are not for a server that shares a small machine."""

    memory_cost = 19 * 1024
    time_cost = 2
    parallelism = 1


class BCryptSHA256PasswordHasher(_InCrew, hashers.BCryptSHA256PasswordHasher):
    pass


class BCryptPasswordHasher(hashers.BCryptPasswordHasher):
    """As other systems store passwords; see :func:`accounts.passwords.as_django`."""

    def encode(self, password: str, salt: Any) -> str:
        library: Any = self._load_library()  # type: ignore[attr-defined]
        found = hashing.run(partial(library.hashpw, password.encode()[:BCRYPT_BYTES], salt))
        return f"{self.algorithm}${found.decode('ascii')}"


class PBKDF2PasswordHasher(_InCrew, hashers.PBKDF2PasswordHasher):
    pass
