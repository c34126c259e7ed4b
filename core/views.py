"""What views have in common that answer about somebody's own affairs."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.query_string import known_parameters, parse_query_string


class CheckedView(APIView):
    """Refuses query parameters but ``parameters``, which are in ``query``; no cache keeps the answers."""

    parameters: frozenset[str] | None = frozenset()  # None where others say which
    query: dict[str, str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        sent, known = request.META.get("QUERY_STRING", ""), self.parameters
        self.query = parse_query_string(sent) if known is None else known_parameters(sent, known)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)
