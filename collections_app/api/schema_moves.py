"""``/api/v1/collections/export`` and ``/import``: the whole schema as one document, for admins."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.principals import Principal
from collections_app.schema import moves
from core.errors import BadRequest, Forbidden, Unauthorized, ValidationFailed
from core.query_string import parse_query_string

_FLAGS = ("dry_run", "delete_missing", "allow_data_loss")


def _admin(request: Request) -> Principal:
    principal: Principal = request.user  # type: ignore[assignment]
    if principal.is_anonymous:
        raise Unauthorized()
    if not principal.is_admin:
        raise Forbidden("Admin access required")
    return principal


def _flags(request: Request, *names: str) -> dict[str, bool]:
    sent = parse_query_string(request.META.get("QUERY_STRING", ""))
    for name in sent:
        if name not in names:
            raise BadRequest(f"Unknown query parameter {name[:50]!r}.")
    wrong = {name: ["Must be true or false."] for name, text in sent.items() if text.lower() not in _YES_OR_NO}
    if wrong:
        raise ValidationFailed(fields=wrong)
    return {name: _YES_OR_NO[sent.get(name, "false").lower()] for name in names}


_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


class SchemaExportView(APIView):
    """All collections, to be taken elsewhere."""

    schema = None  # api/openapi describes it

    def get(self, request: Request) -> Response:
        _admin(request)
        _flags(request)
        return Response(moves.dump())


class SchemaImportView(APIView):
    """Make the collections those of a document; the answer is what was changed, or with ``dry_run`` would be."""

    schema = None  # api/openapi describes it

    def post(self, request: Request) -> Response:
        actor = _admin(request)
        flags = _flags(request, *_FLAGS)
        return Response({"plan": moves.move(request.data, actor=actor, **flags).as_json()})
