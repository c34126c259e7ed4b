"""``/api/v1/collections/{collection}/records`` and ``/api/v1/batch``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from accounts.authentication import principal
from accounts.scopes import Keys
from collections_app.api import forms, serializers, uploads
from collections_app.api.calls import body_of, call_of, respond
from collections_app.io import exports
from collections_app.io import options as import_options
from collections_app.jobs import services as jobs
from collections_app.jobs.models import Job
from collections_app.records import access, operations
from collections_app.records.operations import Call
from collections_app.rules import RuleEnv
from collections_app.schema import registry
from core import ratelimit
from core.drf import AllowWhereAsked, ContentNegotiation, MultiPartParser
from core.errors import DomainError
from core.query_string import known_parameters

_RULE_OF = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


def registers(path: str, headers: Mapping[bytes, bytes]) -> ratelimit.Limited | None:
    """A record of an auth collection made by nobody is somebody registering, also by a file."""
    name, _, rest = path.removeprefix("/api/v1/collections/").partition("/")
    makes = rest.strip("/") == "records" or rest.startswith("records/import/")
    if not makes or b"authorization" in headers or b"x-api-key" in headers:
        return None
    snapshot = registry.known()
    collection = snapshot and (snapshot.by_name.get(name) or snapshot.by_id.get(name))
    return ratelimit.REGISTER if collection and collection.type == "auth" else None


class AsTheyAre(ContentNegotiation):
    """Of files, whose kind their address says, whatever else the client takes."""

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> Any:
        first = next(iter(renderers))  # which only refusals are rendered by
        return first, first.media_type


class RecordViewSet(AllowWhereAsked, ViewSet):
    """The records of a collection, under its rules."""

    rate_limit = staticmethod(registers)

    schema = None  # api/openapi describes it, collection by collection
    api_keys = Keys.SCOPED
    lookup_field = "record_id"
    lookup_value_regex = "[^/]+"

    def list(self, request: Request, collection: str) -> Response:
        """The records that you may list, filtered, sorted, in pages."""
        return respond(operations.record_list(call_of(request), collection))

    def retrieve(self, request: Request, collection: str, record_id: str) -> Response:
        """One record."""
        return respond(operations.record_get(call_of(request), collection, record_id))

    def create(self, request: Request, collection: str) -> Response:
        """Create a record."""
        call = call_of(request)
        with uploads.stored(call, collection, "create", self._body(request)) as body:
            return respond(operations.record_create(call, collection, body))

    def update(self, request: Request, collection: str, record_id: str) -> Response:
        """Change a record; fields that are left out stay."""
        call = call_of(request)
        with uploads.stored(call, collection, "update", self._body(request)) as body:
            return respond(operations.record_update(call, collection, record_id, body))

    def partial_update(self, request: Request, collection: str, record_id: str) -> Response:
        """The same as PUT: fields that are left out stay."""
        return self.update(request, collection, record_id)

    def destroy(self, request: Request, collection: str, record_id: str) -> Response:
        """Delete a record."""
        return respond(operations.record_delete(call_of(request), collection, record_id))

    @action(detail=False, methods=["post"], url_path="bulk-update")
    def bulk_update(self, request: Request, collection: str) -> Response:
        """Change the same fields of 1 to 100 records."""
        return respond(operations.bulk_update(call_of(request), collection, body_of(request, forms.bulk_data)))

    @action(detail=False, methods=["post"], url_path="bulk-delete")
    def bulk_delete(self, request: Request, collection: str) -> Response:
        """Delete 1 to 100 records."""
        return respond(operations.bulk_delete(call_of(request), collection, body_of(request, forms.bulk_data)))

    @action(detail=False, methods=["get"], url_path="export/(?P<kind>[^/]+)", content_negotiation_class=AsTheyAre)
    def export(self, request: Request, collection: str, kind: str) -> HttpResponseBase:
        """All records that you may list, filtered and sorted, as a file."""
        made = exports.export(call_of(request), collection, kind)
        headers = {"Content-Disposition": f'attachment; filename="{made.filename}"', "Cache-Control": "no-store"}
        if request.method == "HEAD":
            made.chunks.close()
            return HttpResponse(content_type=made.media_type, headers=headers)
        return StreamingHttpResponse(made.chunks, content_type=made.media_type, headers=headers)

    @action(detail=False, methods=["post"], url_path="import/(?P<kind>[^/]+)", parser_classes=[MultiPartParser])
    def import_(self, request: Request, collection: str, kind: str) -> Response:
        """Create records from a file, or change those that its rows are about."""
        call = call_of(request)
        raw = known_parameters(call.query_string, import_options.PARAMETERS)
        chosen, file = import_options.options(raw), import_options.file_of(request.FILES, request.data)
        made = jobs.import_file(call, collection, kind, file, chosen, import_options.in_background(raw))
        if isinstance(made, Job):
            shown = jobs.as_json(made, registry.latest())
            return Response({"job": shown}, status=202, headers={"Location": f"/api/v1/jobs/{made.pk}"})
        return Response(made.as_json(), status=200 if chosen.dry_run else 201)

    def _body(self, request: Request) -> Any:
        return body_of(request, self._read_form)

    def _read_form(self, form: QueryDict) -> dict[str, Any]:
        return forms.record_data(form, collection=registry.latest().get(self.kwargs["collection"]))

    # -- the page for browsers (core.browsable) -----------------------------
    @property
    def query_boxes(self) -> tuple[tuple[str, str, str], ...]:
        return _QUERY_BOXES if self.action == "list" else ()

    def get_serializer(self) -> BaseSerializer[Any]:
        if self.action == "bulk_update":
            return serializers.BulkUpdateSerializer()
        if self.action == "bulk_delete":
            return serializers.BulkDeleteSerializer()
        collection = registry.latest().get(self.kwargs["collection"])
        return serializers.record_serializer(collection, admin=principal(self.request).is_admin)()

    def get_view_name(self) -> str:
        kwargs = getattr(self, "kwargs", {})
        if self.name:
            return str(self.name)
        return str(kwargs.get("record_id") or "Records")

    @property
    def heading(self) -> str:
        name = self.kwargs["collection"]
        return f"{self.name} {name}" if self.name else str(self.kwargs.get("record_id") or f"Records of {name}")

    def stored(self) -> Mapping[str, Any] | None:
        """The record as it is now, or None for who may not see it."""
        call = Call(principal=principal(self.request))
        try:
            found = operations.record_get(call, self.kwargs["collection"], self.kwargs["record_id"])
            return orjson.loads(found.body)
        except DomainError:
            return None

    def offers(self, method: str) -> bool:
        """No form for what no record could allow this caller."""
        snapshot = registry.latest()
        collection = snapshot.by_name.get(self.kwargs["collection"]) or snapshot.by_id.get(self.kwargs["collection"])
        if collection is None or collection.type == "view":
            return False
        rule = {"bulk_update": "update", "bulk_delete": "delete"}.get(self.action or "", _RULE_OF[method])
        env = RuleEnv(principal=principal(self.request), method=method)
        return access.verdict(collection, rule, env, snapshot) is not False

    def link(self, item: Mapping[str, Any]) -> str | None:
        if not ("id" in item and "collection" in item):
            return None
        return f"/api/v1/collections/{item['collection']}/records/{item['id']}"


_QUERY_BOXES = (
    ("search", "Search", "in all text fields"),
    ("filter", "Filter", "price >= 10 && active = true"),
    ("sort", "Sort", "-created,id"),
    ("expand", "Expand", "author,comments_via_post"),
    ("fields", "Fields", "id,title"),
    ("per_page", "Per page", "30"),
)


class BatchView(AllowWhereAsked, APIView):
    """Up to 1,000 writes in one transaction: all of them, or none."""

    schema = None  # api/openapi describes it
    api_keys = Keys.SCOPED

    def get_serializer(self) -> BaseSerializer[Any]:
        return serializers.BatchSerializer()

    def post(self, request: Request) -> Response:
        return respond(operations.batch(call_of(request), body_of(request, forms.batch_data)))
