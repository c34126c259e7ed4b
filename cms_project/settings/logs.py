"""Logging to the console, each line with the id of its request, and what is noted of requests."""

from __future__ import annotations

from cms_project.settings.environment import flag, positive, read, whole


def log_level(raw: str) -> str:
    if raw.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return raw.upper()


def log_format(raw: str) -> str:
    if raw.lower() not in ("text", "json"):
        raise ValueError("expected text or json")
    return raw.lower()


LOG_LEVEL = read(log_level, "INFO", "LOG_LEVEL")
LOG_FORMAT = read(log_format, "text", "LOG_FORMAT")
SLOW_REQUEST_MS = read(positive, 1000, "SLOW_REQUEST_MS")  # until the answer began; slower ones are told
SLOW_QUERY_MS = read(positive, 1000, "SLOW_QUERY_MS")

ACCESS_LOG = read(flag, True, "ACCESS_LOG")

HEALTH_MIN_DISK_MB = read(whole, 100, "HEALTH_MIN_DISK_MB")  # below it /health says degraded

REQUEST_LOG = read(flag, True, "REQUEST_LOG")  # a table of requests, for admins (monitoring/)

METRICS_TOKEN = read(str, "", "METRICS_TOKEN")  # for whoever asks for /metrics and is no admin

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "core.logs.RequestIdFilter"}, "no_query": {"()": "core.logs.NoQueryFilter"}},
    "formatters": {
        "text": {
            "()": "core.logs.TextFormatter",
            "format": "{asctime} {levelname} {name} [{request_id}] {message}",
            "style": "{",
        },
        "json": {"()": "core.logs.JSONFormatter"},
        "message": {"format": "{message}", "style": "{"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["request_id"]},
        # Lines that are written already, many to a record (core/access_log.py).
        "lines": {"class": "logging.StreamHandler", "formatter": "message"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False},
        # A refused request is the client's affair: only answers of 500 and above are told, unless debugging.
        "django.request": {"level": LOG_LEVEL if LOG_LEVEL == "DEBUG" else "ERROR"},
        "django.security.csrf": {"level": LOG_LEVEL if LOG_LEVEL == "DEBUG" else "ERROR"},
        "django.server": {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False},
        "django.channels.server": {"filters": ["no_query"]},
        "access": {"handlers": ["lines"], "level": LOG_LEVEL, "propagate": False},
        # SQL text carries values; it is logged only when asked for by name.
        "django.db.backends": {"level": "INFO"},
    },
}
