"""``/api/schema``, and the pages at ``/docs`` and ``/api/redoc`` that show it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import principal
from collections_app.api.openapi.audience import audience_of
from collections_app.api.openapi.document import document
from collections_app.schema import registry
from core.drf import JSONRenderer
from core.errors import BadRequest, NotFound
from core.query_string import parse_query_string
from settings_app import values
from settings_app.declared import API_DOCS, APP_NAME

# Nothing on these pages comes from elsewhere, and this holds them to it.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src {styles}; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class VendorJSONRenderer(JSONRenderer):
    media_type = "application/vnd.oai.openapi+json"


class YAMLRenderer(BaseRenderer):
    """Ready bytes pass through; a refusal is JSON, which is YAML too."""

    media_type, format, charset = "application/yaml", "yaml", None
    render_style = "binary"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return JSONRenderer().render(data)


class VendorYAMLRenderer(YAMLRenderer):
    media_type = "application/vnd.oai.openapi"


class OldYAMLRenderer(YAMLRenderer):
    media_type = "text/yaml"


class SchemaView(APIView):
    """OpenAPI 3.1 of the collections that the caller may list; JSON, or YAML by Accept or ``?format=yaml``."""

    schema = None
    renderer_classes = (JSONRenderer, VendorJSONRenderer, YAMLRenderer, VendorYAMLRenderer, OldYAMLRenderer)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        wanted = request.GET.get("format")
        for renderer in self.renderer_classes:
            if wanted == renderer.format:
                return renderer(), renderer.media_type
        return super().perform_content_negotiation(request, force)

    def get(self, request: Request) -> Response:
        _require_open(request)
        parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
        if parameters.pop("format", "json") not in ("json", "yaml"):
            raise BadRequest("format: json or yaml.")
        if parameters:
            raise BadRequest(f"Unknown query parameter {min(parameters)[:50]!r}; known: format.")
        snapshot = registry.latest()
        found = document(snapshot, audience_of(principal(request), snapshot), request.accepted_renderer.format)
        headers = {"ETag": found.etag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, Cookie"}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
        if found.etag in known:
            return Response(status=304, headers=headers)
        return Response(found.body, headers=headers)


@require_safe
def swagger_ui(request: HttpRequest) -> HttpResponse:
    """Try the API in the browser."""
    return _page(request, "openapi/swagger_ui.html", "'self'")


@require_safe
def redoc(request: HttpRequest) -> HttpResponse:
    """Read the API in the browser."""
    # Redoc writes its style sheets into the page; there is no telling it a nonce.
    return _page(request, "openapi/redoc.html", "'self' 'unsafe-inline'")


def _page(request: HttpRequest, template: str, styles: str) -> HttpResponse:
    _require_open(APIView().initialize_request(request))
    context = {"title": values.get(APP_NAME), "schema_url": reverse("openapi-schema")}
    response = render(request, template, context)
    response.headers["Content-Security-Policy"] = _POLICY.format(styles=styles)
    return response


def _require_open(request: Request) -> None:
    """NotFound where the documents are for admins only, and this is none, neither by a token nor by a session."""
    if not values.get(API_DOCS) and not principal(request).is_admin:
        raise NotFound
