"""``/api/v1/collections``: definitions, for admins; names and fields for those who may list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.viewsets import ViewSet

from accounts.principals import Principal
from collections_app.api import forms
from collections_app.api.calls import body_of
from collections_app.api.serializers import CollectionSerializer, PreviewSerializer
from collections_app.records import access, query
from collections_app.records.codec import visible_fields
from collections_app.rules import RuleEnv
from collections_app.schema import registry, service
from collections_app.schema.definition import RULES, CollectionDef
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import previewing
from core import clock
from core.errors import BadRequest, Forbidden, NotFound, Unauthorized, ValidationFailed
from core.query_string import parse_query_string

DEFAULT_PER_PAGE = 100


def _require_admin(request: Request) -> Principal:
    principal: Principal = request.user  # type: ignore[assignment]
    if principal.is_anonymous:
        raise Unauthorized()
    if not principal.is_admin:
        raise Forbidden("Admin access required")
    return principal


def _outline(collection: CollectionDef) -> dict[str, Any]:
    """What those may know who may list the records: the name and the readable fields."""
    fields = [field for field in visible_fields(collection, admin=False) if not field.system]
    return {"name": collection.name, "schema": [{"name": field.name, "type": field.type} for field in fields]}


def _listable(collection: CollectionDef, principal: Principal, snapshot: Snapshot) -> bool:
    env = RuleEnv(principal=principal, now=clock.now())
    return access.verdict(collection, "list", env, snapshot) is not False


def _payload(request: Request) -> dict[str, Any]:
    data = body_of(request, forms.collection_data)
    if not isinstance(data, dict):
        raise BadRequest("Expected a JSON object.")
    return data


def _flag(parameters: dict[str, str], name: str) -> bool:
    text = parameters.pop(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise ValidationFailed(fields={name: ["Must be true or false."]})
    return text in ("true", "1")


def _parameters(request: Request, *flags: str) -> dict[str, bool]:
    parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
    found = {name: _flag(parameters, name) for name in flags}
    if parameters:
        raise BadRequest(f"Unknown query parameter {min(parameters)[:50]!r}.")
    return found


class CollectionViewSet(ViewSet):
    """Collections: what there is and what it looks like."""

    schema = None  # api/openapi describes it, collection by collection

    lookup_field = "collection"
    lookup_value_regex = "[^/]+"

    def list(self, request: Request) -> Response:
        """All collections; for others than admins, those that they may list."""
        parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
        parameters.setdefault("per_page", str(DEFAULT_PER_PAGE))
        wanted = query.read(parameters, frozenset({"page", "per_page"}))
        snapshot = registry.latest()
        principal: Principal = request.user  # type: ignore[assignment]
        everything = sorted(snapshot.by_id.values(), key=lambda collection: collection.name)
        if principal.is_admin:
            shown = [service.as_json(collection) for collection in everything]
        else:
            shown = [_outline(c) for c in everything if _listable(c, principal, snapshot)]
        start = (wanted.page - 1) * wanted.per_page
        return Response(
            {
                "items": shown[start : start + wanted.per_page],
                "total": len(shown),
                "page": wanted.page,
                "per_page": wanted.per_page,
                "total_pages": -(-len(shown) // wanted.per_page),
            }
        )

    def retrieve(self, request: Request, collection: str) -> Response:
        """One collection by name or id."""
        _parameters(request)
        snapshot = registry.latest()
        principal: Principal = request.user  # type: ignore[assignment]
        found = snapshot.get(collection)
        if principal.is_admin:
            return Response(service.as_json(found))
        if not _listable(found, principal, snapshot):
            raise NotFound(f"There is no collection {collection[:100]!r}.")
        return Response(_outline(found))

    def create(self, request: Request) -> Response:
        """Make a collection: its table, REST API and rules are there at once."""
        actor = _require_admin(request)
        _parameters(request)
        made = service.collection_create(actor=actor, payload=_payload(request))
        return Response(service.as_json(made), status=201)

    def update(self, request: Request, collection: str) -> Response:
        """Change a collection; keys that are left out stay."""
        actor = _require_admin(request)
        flags = _parameters(request, "allow_data_loss")
        changed = service.collection_update(
            actor=actor,
            name_or_id=collection,
            payload=_payload(request),
            allow_data_loss=flags["allow_data_loss"],
        )
        return Response(service.as_json(changed))

    def partial_update(self, request: Request, collection: str) -> Response:
        """The same as PUT: keys that are left out stay."""
        return self.update(request, collection)

    def destroy(self, request: Request, collection: str) -> Response:
        """Drop a collection with all its records."""
        actor = _require_admin(request)
        _parameters(request)
        service.collection_delete(actor=actor, name_or_id=collection)
        return Response(status=204)

    @action(detail=False, methods=["post"])
    def preview_view(self, request: Request) -> Response:
        """The columns and first rows of a SELECT, before it is a view."""
        _require_admin(request)
        _parameters(request)
        data = _payload(request)
        problems = {str(key)[:50]: ["Unknown key."] for key in data if key not in ("view_query", "limit")}
        limit = data.get("limit", previewing.MAX_ROWS)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= previewing.MAX_ROWS:
            problems["limit"] = [f"Must be a whole number from 1 to {previewing.MAX_ROWS}."]
        if problems:
            raise ValidationFailed(fields=problems)
        return Response(previewing.preview(data.get("view_query"), limit))

    @action(detail=True, methods=["post"])
    def refresh(self, request: Request, collection: str) -> Response:
        """Forget the rows that are kept of a view."""
        _require_admin(request)
        _parameters(request)
        service.view_refresh(name_or_id=collection)
        return Response(status=204)

    # -- the page for browsers (core.browsable) -----------------------------
    def get_serializer(self) -> BaseSerializer[Any]:
        if self.action == "preview_view":
            return PreviewSerializer()
        return Serializer() if self.action == "refresh" else CollectionSerializer()

    def get_view_name(self) -> str:
        return str(getattr(self, "kwargs", {}).get("collection") or "Collections")

    def get_extra_action_url_map(self) -> dict[str, str]:
        name = self.kwargs.get("collection")
        return {"Records": f"/api/v1/collections/{name}/records"} if name else {}

    def stored(self) -> Mapping[str, Any] | None:
        """The collection as its form shows it: a public rule is the word null."""
        found = registry.latest().by_name.get(self.kwargs["collection"])
        if found is None:
            return None
        shown = service.as_json(found)
        return {**shown, **{key: "null" for key in RULES if shown[key] is None}}

    def offers(self, method: str) -> bool:
        return bool(self.request.user.is_admin)  # type: ignore[union-attr]

    def link(self, item: Mapping[str, Any]) -> str | None:
        """A collection in the list leads to itself, on its own page to its records."""
        if not {"name", "schema"} <= item.keys():
            return None
        own = f"/api/v1/collections/{item['name']}"
        return f"{own}/records" if self.detail else own
