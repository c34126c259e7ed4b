"""``/api/v1``: where everything is."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

PLACES = {
    "collections": "/api/v1/collections",
    "batch": "/api/v1/batch",
    "sign_in": "/api/v1/auth/login",
    "me": "/api/v1/auth/me",
    "schema": "/api/schema",
    "docs": "/docs",
}


class StartView(APIView):
    """Where everything is."""

    schema = None

    def get(self, request: Request) -> Response:
        return Response({name: request.build_absolute_uri(place) for name, place in PLACES.items()})

    def get_view_name(self) -> str:
        return "API"
