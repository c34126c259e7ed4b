"""``/api/v1/collections/{collection}/records`` and ``/api/v1/batch``."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from collections_app.api import serializers
from collections_app.api.calls import body_of, call_of, respond
from collections_app.records import operations
from collections_app.schema import registry


class RecordViewSet(ViewSet):
    """The records of one collection, under its rules."""

    schema = None  # api/openapi describes it, collection by collection

    lookup_field = "record_id"
    lookup_value_regex = "[^/]+"

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer[Any]:
        """The form of this collection, for the browsable API and OpenAPI; it validates nothing."""
        collection = registry.latest().get(self.kwargs["collection"])
        if self.action == "bulk_update":
            return serializers.BulkUpdateSerializer(*args, **kwargs)
        if self.action == "bulk_delete":
            return serializers.BulkDeleteSerializer(*args, **kwargs)
        return serializers.record_serializer(collection)(*args, **kwargs)

    def list(self, request: Request, collection: str) -> Response:
        """The records that you may list, filtered, sorted, in pages."""
        return respond(operations.record_list(call_of(request), collection))

    def retrieve(self, request: Request, collection: str, record_id: str) -> Response:
        """One record."""
        return respond(operations.record_get(call_of(request), collection, record_id))

    def create(self, request: Request, collection: str) -> Response:
        """Create a record."""
        return respond(operations.record_create(call_of(request), collection, self._body(request)))

    def update(self, request: Request, collection: str, record_id: str) -> Response:
        """Change a record; fields that are left out stay."""
        return respond(operations.record_update(call_of(request), collection, record_id, self._body(request)))

    def partial_update(self, request: Request, collection: str, record_id: str) -> Response:
        """The same as PUT: fields that are left out stay."""
        return self.update(request, collection, record_id)

    def destroy(self, request: Request, collection: str, record_id: str) -> Response:
        """Delete a record."""
        return respond(operations.record_delete(call_of(request), collection, record_id))

    @action(detail=False, methods=["post"], url_path="bulk-update")
    def bulk_update(self, request: Request, collection: str) -> Response:
        """Change the same fields of 1 to 100 records."""
        return respond(operations.bulk_update(call_of(request), collection, body_of(request)))

    @action(detail=False, methods=["post"], url_path="bulk-delete")
    def bulk_delete(self, request: Request, collection: str) -> Response:
        """Delete 1 to 100 records."""
        return respond(operations.bulk_delete(call_of(request), collection, body_of(request)))

    def _body(self, request: Request) -> Any:
        return body_of(request, registry.latest().by_name.get(self.kwargs["collection"]))


class BatchView(APIView):
    """Up to 1,000 writes in one transaction: all of them, or none."""

    schema = None  # api/openapi describes it, collection by collection

    serializer_class = serializers.BatchSerializer

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer[Any]:
        return serializers.BatchSerializer(*args, **kwargs)

    def post(self, request: Request) -> Response:
        return respond(operations.batch(call_of(request), body_of(request)))
