"""What a production server must not start with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Critical
from django.core.exceptions import ImproperlyConfigured

MIN_SECRET_CHARS = 32
_PLACEHOLDERS = ("change", "your-secret", "secret-key", "insecure", "example", "generated-from")


def reasons(workers: int | None = None) -> list[str]:
    """Every reason not to start in production; none outside of it."""
    if not settings.PRODUCTION:
        return []
    found = []
    secret = settings.SECRET_KEY if settings.SECRET_KEY_IS_SET else ""
    if not secret:
        found.append("SECRET_KEY is not set.")
    elif len(secret) < MIN_SECRET_CHARS or len(set(secret)) < 8:
        found.append(f"SECRET_KEY is too short or too simple: it needs {MIN_SECRET_CHARS} random characters.")
    elif any(word in secret.lower() for word in _PLACEHOLDERS):
        found.append("SECRET_KEY is a placeholder from an example.")
    if settings.DEBUG:
        found.append("DEBUG is on.")
    if any("*" in host for host in settings.ALLOWED_HOSTS):
        found.append("ALLOWED_HOSTS contains '*'.")
    if settings.CORS_ALLOW_ALL_ORIGINS:
        found.append("CORS_ORIGINS contains '*'.")
    if settings.OAUTH_PROVIDERS["oidc"]["issuer"].startswith("http://"):
        found.append("OIDC_ISSUER is not HTTPS: whoever is on the way there could sign in as anybody.")
    if (workers or settings.WORKERS) > 1:
        if "locmem" in settings.CACHES["default"]["BACKEND"]:
            found.append("Several workers with the in-process cache: set REDIS_URL.")
        if "InMemory" in settings.CHANNEL_LAYERS["default"]["BACKEND"]:
            found.append("Several workers with the in-process channel layer: set REDIS_URL.")
    return found


def refuse_unsafe(workers: int | None = None) -> None:
    """Raise ImproperlyConfigured with all reasons at once."""
    found = reasons(workers)
    if found:
        raise ImproperlyConfigured(
            "\n".join([f"ENV={settings.ENV}: not starting with unsafe settings.", *(f"- {r}" for r in found)])
        )


def check(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The same as a system check, so that ``manage.py check`` tells before a deployment does."""
    return [
        Critical(reason, hint="docs/running.md says what each setting means.", id=f"production.E{number:03}")
        for number, reason in enumerate(reasons(), start=1)
    ]
