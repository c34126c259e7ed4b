"""What runs beside the database: Redis or its in-process stand-ins, mail, limits, sign-in elsewhere."""

from __future__ import annotations

from typing import Any

from cms_project.settings.base import ENV, PROJECT_NAME
from cms_project.settings.environment import DATA_DIR, flag, positive, read, whole

REDIS_URL = read(str, "", "REDIS_URL")

CACHES: dict[str, Any]
CHANNEL_LAYERS: dict[str, Any]
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}}
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

CELERY_BROKER_URL = read(str, REDIS_URL or "memory://", "CELERY_BROKER_URL")
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# Without SMTP_HOST mail goes to the console and to DATA_DIR/mail.
EMAIL_HOST = read(str, "", "SMTP_HOST")
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend" if EMAIL_HOST else "core.mail.ConsoleAndFileBackend"
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_PORT = read(whole, 587, "SMTP_PORT")
EMAIL_HOST_USER = read(str, "", "SMTP_USER")
EMAIL_HOST_PASSWORD = read(str, "", "SMTP_PASSWORD")
EMAIL_USE_SSL = EMAIL_PORT == 465
EMAIL_USE_TLS = read(flag, True, "SMTP_TLS") and not EMAIL_USE_SSL
EMAIL_TIMEOUT = 15
_from_name = read(str, PROJECT_NAME, "SMTP_FROM_NAME")
_from_email = read(str, "noreply@localhost", "SMTP_FROM_EMAIL", "EMAILS_FROM_EMAIL")
DEFAULT_FROM_EMAIL = f'"{_from_name}" <{_from_email}>'

RATE_LIMIT_ENABLED = read(flag, ENV != "development", "RATE_LIMIT_ENABLED")
RATE_LIMIT_REQUESTS = read(positive, 100, "RATE_LIMIT_REQUESTS", "RATE_LIMIT_PER_MINUTE")
RATE_LIMIT_WINDOW = read(positive, 60, "RATE_LIMIT_WINDOW")


def oauth(name: str) -> dict[str, str]:
    return {key: read(str, "", f"{name}_{key.upper()}") for key in ("client_id", "client_secret", "redirect_uri")}


OAUTH_PROVIDERS = {name.lower(): oauth(name) for name in ("GOOGLE", "GITHUB", "MICROSOFT")}
