"""Is it alive, can it work: for load balancers and people. Never limited, no sign-in.

Strangers learn what is missing, and nothing of versions, places or causes; those are in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import django
from django.conf import settings
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from cms_project import checks
from core import clock, json
from core.asgi import Headers
from core.drf import AllowWhereAsked
from core.errors import NotFound
from core.routes import route
from core.version import VERSION
from core.views import CheckedView
from settings_app import seen
from settings_app.declared import APP_NAME

_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_MOMENT = {"type": "string", "format": "date-time"}

Report = tuple[dict[str, Any], bool]


def live() -> Report:
    return {"status": "alive"}, True


def health() -> Report:
    """``degraded`` where something is away; that is said, and is no failure: the process answers."""
    found = checks.ask(checks.all_checks())
    return {
        "status": "healthy" if all(found.values()) else "degraded",
        "message": "Service is running",
        "service": seen.value(APP_NAME),
        **({} if settings.PRODUCTION else {"version": VERSION}),
        "environment": settings.ENV,
        "timestamp": clock.isoformat(clock.now()),
    }, True


def ready() -> Report:
    """Ready when nothing vital is missing; what else is missing degrades only."""
    wanted = checks.all_checks()
    found = checks.ask(wanted)
    is_ready = all(found[check.name] for check in wanted if check.vital)
    status = "not_ready" if not is_ready else "ready" if all(found.values()) else "degraded"
    return {
        "status": status,
        "checks": found,
        "failed": [name for name, answers in found.items() if not answers],
    }, is_ready


def info() -> Report:
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


def _one(check: checks.Check) -> Callable[[], Report]:
    def report() -> Report:
        answers = check.answers()
        said = {"status": "healthy", check.name: "connected"}
        return said if answers else {"status": "unhealthy", check.name: "disconnected"}, answers

    return report


database, cached = _one(checks.DATABASE), _one(checks.CACHE)


class HealthView(AllowWhereAsked, CheckedView):
    """Answers what ``report`` says: 200, or 503 where it is not well."""

    parameters = None  # load balancers add some
    authentication_classes: Sequence[Any] = ()
    crew = "health"
    report: Callable[[], Report]

    def answer(self) -> Response:
        content, is_well = type(self).report()
        return Response(content, status=200 if is_well else 503)


def _view(name: str, report: Callable[[], Report], summary: str, properties: dict[str, Any]) -> Any:
    shape = {"type": "object", "properties": properties, "required": list(properties)}
    statuses = {200: shape} if name in ("root", "live", "info") else {200: shape, 503: shape}

    @extend_schema(f"health_{name}", summary=summary, description=summary, request=None, responses=statuses)
    def get(self: HealthView, request: Request) -> Response:
        return self.answer()

    made = type(f"Health{name.title()}View", (HealthView,), {"report": staticmethod(report), "get": get})
    made.__doc__ = summary
    return made.as_view()  # type: ignore[attr-defined]


def _state(*states: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(states)}


_CONNECTED = _state("connected", "disconnected")
_WELL = _state("healthy", "unhealthy")
_NAMED = {"service": _TEXT, "environment": _TEXT, "timestamp": _MOMENT}
_VIEWS = {
    "": _view(
        "root",
        health,
        "The process answers, and whether something is away.",
        {"status": _state("healthy", "degraded"), "message": _TEXT, **_NAMED},
    ),
    "live": _view("live", live, "The process answers.", {"status": _state("alive")}),
    "ready": _view(
        "ready",
        ready,
        "It can do its work; 503 where something vital is missing.",
        {
            "status": _state("ready", "degraded", "not_ready"),
            "checks": {"type": "object", "additionalProperties": _FLAG},
            "failed": {"type": "array", "items": _TEXT},
        },
    ),
    "info": _view("info", info, "What this is; 404 in production.", {**_NAMED, "version": _TEXT, "database": _TEXT}),
    "db": _view("db", database, "The database answers.", {"status": _WELL, "database": _CONNECTED}),
    "cache": _view("cache", cached, "The cache answers.", {"status": _WELL, "cache": _CONNECTED}),
}

urlpatterns = [route(f"{root}/{name}", view) for root in ("health", "api/v1/health") for name, view in _VIEWS.items()]


def _whole() -> tuple[int, Headers, bytes]:
    body = json.dumps(live()[0])
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept"),
        (b"content-length", b"%d" % len(body)),
    ]
    return 200, headers, body


# What is answered without asking anything, and so without Django.
FIXED = {f"{root}/health/live{slash}": _whole for root in ("", "/api/v1") for slash in ("", "/")}
