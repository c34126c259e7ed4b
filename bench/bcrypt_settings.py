"""The product's settings, but for passwords: hashed as PocketBase hashes them, by bcrypt with cost 10."""

from cms_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["bench.bcrypt_hasher.BCrypt10", "accounts.hashers.Argon2PasswordHasher"]
