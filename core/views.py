"""What views have in common that answer about somebody's own affairs."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.query_string import known_parameters


class CheckedView(APIView):
    """Refuses query parameters but ``parameters``, which are in ``query``; no cache keeps the answers."""

    parameters: frozenset[str] = frozenset()
    query: dict[str, str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.query = known_parameters(request.META.get("QUERY_STRING", ""), self.parameters)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)
