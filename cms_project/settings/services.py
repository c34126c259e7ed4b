"""What runs beside the database: Redis or its in-process stand-ins, limits, sign-in elsewhere."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.base import ENV
from cms_project.settings.environment import flag, positive, read

REDIS_URL = read(str, "", "REDIS_URL")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):  # it may hold a password: not said
    raise ImproperlyConfigured("REDIS_URL: expected an address that begins with redis://, rediss:// or unix://")

CACHES: dict[str, Any]
CHANNEL_LAYERS: dict[str, Any]
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},  # nobody waits for one that is silent
        }
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Each process has one channel and enters its group every few seconds; one that died is soon forgotten.
            # It waits 5 s for what comes, and the connection must not be given up meanwhile.
            "CONFIG": {
                "hosts": [{"address": REDIS_URL, "socket_timeout": 15}],
                "capacity": 1000,
                "group_expiry": 60,
            },
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

CELERY_BROKER_URL = read(str, REDIS_URL or "memory://", "CELERY_BROKER_URL")
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that went away without a word must not hold anybody up for good.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 3, "socket_timeout": 10, "max_retries": 1}
CELERY_BEAT_SCHEDULER = "cms_project.celery:Rounds"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # what a worker holds in reserve no other can take
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # its log is ours, in the same form and without secrets
CELERY_APP = "cms_project.celery.app"  # loaded by whoever has something to say to it

RATE_LIMIT_ENABLED = read(flag, ENV != "development", "RATE_LIMIT_ENABLED")
RATE_LIMIT_REQUESTS = read(positive, 100, "RATE_LIMIT_REQUESTS", "RATE_LIMIT_PER_MINUTE")
RATE_LIMIT_WINDOW = read(positive, 60, "RATE_LIMIT_WINDOW")


def oauth(name: str) -> dict[str, str]:
    return {key: read(str, "", f"{name}_{key.upper()}") for key in ("client_id", "client_secret", "redirect_uri")}


# One is set up when it has a client id and a secret; ``oidc`` needs an issuer too.
OAUTH_PROVIDERS = {name.lower(): oauth(name) for name in ("GOOGLE", "GITHUB", "MICROSOFT", "OIDC")}
OAUTH_PROVIDERS["microsoft"]["tenant"] = read(str, "common", "MICROSOFT_TENANT")
OAUTH_PROVIDERS["oidc"]["name"] = read(str, "Single sign-on", "OIDC_NAME")
OAUTH_PROVIDERS["oidc"]["issuer"] = read(str, "", "OIDC_ISSUER")

# allauth speaks the providers' protocols; its tables of accounts and apps stay empty.
SOCIALACCOUNT_ADAPTER = "accounts.oauth.protocols.Adapter"
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_STORE_TOKENS = False

# How often a stream with nothing to tell says that it is there (seconds), and how many a process takes.
REALTIME_HEARTBEAT_SECONDS = read(positive, 15, "REALTIME_HEARTBEAT_SECONDS")
REALTIME_RESUME_HOURS = read(positive, 24, "REALTIME_RESUME_HOURS")  # how far back a stream may go on from
REALTIME_MAX_CONNECTIONS = read(positive, 20_000, "REALTIME_MAX_CONNECTIONS")
WEBSOCKET_MAX_BYTES = read(positive, 1024 * 1024, "WEBSOCKET_MAX_BYTES")  # of one message

# Webhooks go to the public internet only; with this also to this machine and to its own network.
WEBHOOK_ALLOW_PRIVATE = read(flag, False, "WEBHOOK_ALLOW_PRIVATE")
