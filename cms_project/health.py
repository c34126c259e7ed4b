"""Is it alive, can it work: for load balancers and people. Never limited, no sign-in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse

from core import clock, json
from core.asgi import Headers
from core.errors import MethodNotAllowed, NotFound
from core.routes import route
from core.version import VERSION
from settings_app import seen
from settings_app.declared import APP_NAME

logger = logging.getLogger(__name__)

Check = Callable[[], tuple[dict[str, Any], bool]]


def _view(check: Check) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
        content, healthy = check()
        return HttpResponse(
            json.dumps(content),
            content_type="application/json",
            status=200 if healthy else 503,
            headers={"Cache-Control": "no-store"},
        )

    return view


def whole(check: Check) -> Callable[[], tuple[int, Headers, bytes]]:
    """The same answer without Django."""

    def answer() -> tuple[int, Headers, bytes]:
        content, healthy = check()
        body = json.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
        ]
        return 200 if healthy else 503, headers, body

    return answer


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except Error:
        logger.exception("the database does not answer")
        return False


def _cache_answers() -> bool:
    try:
        cache.set("health", "1", 5)
        return bool(cache.get("health") == "1")
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with it, that is the answer
        logger.warning("the cache does not answer: %r", fault)
        return False


def health() -> tuple[dict[str, Any], bool]:
    return {
        "status": "healthy",
        "message": "Service is running",
        "service": seen.value(APP_NAME),
        "version": VERSION,
        "environment": settings.ENV,
        "timestamp": clock.isoformat(clock.now()),
    }, True


def live() -> tuple[dict[str, Any], bool]:
    return {"status": "alive"}, True


def ready() -> tuple[dict[str, Any], bool]:
    """Ready when the database answers; a cache that is away is told, and degrades only."""
    database, cached = _database_answers(), _cache_answers()
    status = "not_ready" if not database else "ready" if cached else "degraded"
    return {"status": status, "checks": {"database": database, "cache": cached}}, database


def info() -> tuple[dict[str, Any], bool]:
    if settings.PRODUCTION:
        raise NotFound
    return {
        "service": seen.value(APP_NAME),
        "version": VERSION,
        "environment": settings.ENV,
        "debug": settings.DEBUG,
        "database": connection.vendor,
        "django": django.get_version(),
        "timestamp": clock.isoformat(clock.now()),
    }, True


def database() -> tuple[dict[str, Any], bool]:
    answers = _database_answers()
    return {
        "status": "healthy" if answers else "unhealthy",
        "database": "connected" if answers else "disconnected",
    }, answers


def cached() -> tuple[dict[str, Any], bool]:
    answers = _cache_answers()
    return {
        "status": "healthy" if answers else "unhealthy",
        "cache": "connected" if answers else "disconnected",
    }, answers


urlpatterns = [
    route("", _view(health)),
    route("live", _view(live)),
    route("ready", _view(ready)),
    route("info", _view(info)),
    route("db", _view(database)),
    route("cache", _view(cached)),
]

# Those that ask nothing of any other service.
FIXED = {f"{root}/health{slash}": whole(health) for root in ("", "/api/v1") for slash in ("", "/")} | {
    f"{root}/health/live{slash}": whole(live) for root in ("", "/api/v1") for slash in ("", "/")
}
