"""bcrypt with PocketBase's cost, hashed where the product hashes."""

from __future__ import annotations

from accounts.hashers import BCryptPasswordHasher


class BCrypt10(BCryptPasswordHasher):
    rounds = 10
