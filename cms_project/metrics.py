"""``/metrics``: what Prometheus asks for. For admins, and for whoever shows ``METRICS_TOKEN``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from core import metrics
from core.permissions import IsAdmin
from core.routes import route


class Scraper:
    """Whoever has shown ``METRICS_TOKEN``: an admin here, and nobody elsewhere."""

    id = "metrics"
    is_anonymous, is_admin, is_authenticated = False, True, True


class MetricsToken(BaseAuthentication):
    """``Authorization: Bearer <METRICS_TOKEN>``; anything else is left to those that follow."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        sent = request.META.get("HTTP_AUTHORIZATION", "")
        token = settings.METRICS_TOKEN
        if token and constant_time_compare(sent, f"Bearer {token}"):
            return Scraper(), None
        return None


class _AsItIs(BaseContentNegotiation):
    """There is one form, whatever is accepted."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class MetricsView(APIView):
    """Numbers for Prometheus, of all workers of this server, in its text format."""

    schema = None  # no part of the API
    authentication_classes: Sequence[Any] = (MetricsToken, *api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    content_negotiation_class = _AsItIs
    permission_classes = (IsAdmin,)

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(metrics.text(), content_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"})


urlpatterns = [route("metrics", MetricsView.as_view(), name="metrics")]
