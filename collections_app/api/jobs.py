"""``/api/v1/jobs``: what is done in the background, for those who asked for it."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import principal
from accounts.scopes import Keys
from collections_app.jobs import services
from collections_app.records import query
from collections_app.schema import registry
from core.query_string import known_parameters, parse_query_string


class JobViewSet(ViewSet):
    """Imports that are done in the background: how far they are, what was wrong with which row, and their end."""

    schema = None  # api/openapi describes it
    api_keys = Keys.SCOPED
    lookup_field = "job"
    lookup_value_regex = "[^/]+"

    def list(self, request: Request) -> Response:
        """Your jobs, for admins all, the newest first; their errors stand in each one alone."""
        wanted = query.read(parse_query_string(request.META.get("QUERY_STRING", "")), frozenset({"page", "per_page"}))
        found = services.visible(principal(request))
        start, total, snapshot = (wanted.page - 1) * wanted.per_page, found.count(), registry.latest()
        shown = found[start : start + wanted.per_page]
        return Response(
            {
                "items": [services.as_json(job, snapshot, whole=False) for job in shown],
                "total": total,
                "page": wanted.page,
                "per_page": wanted.per_page,
                "total_pages": -(-total // wanted.per_page),
            }
        )

    def retrieve(self, request: Request, job: str) -> Response:
        """One job, with the rows that were wrong."""
        _no_parameters(request)
        return Response(services.as_json(services.get(principal(request), job), registry.latest()))

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, job: str) -> Response:
        """End it; what it has imported stays."""
        _no_parameters(request)
        return Response(services.as_json(services.cancel(principal(request), job), registry.latest()))

    # -- the page for browsers (core.browsable) -----------------------------
    def get_view_name(self) -> str:
        return str(getattr(self, "kwargs", {}).get("job") or "Jobs")

    def offers(self, method: str) -> bool:
        return self.action == "cancel"

    def link(self, item: dict[str, Any]) -> str | None:
        return None if self.detail else f"/api/v1/jobs/{item['id']}"


def _no_parameters(request: Request) -> None:
    known_parameters(request.META.get("QUERY_STRING", ""), ())
