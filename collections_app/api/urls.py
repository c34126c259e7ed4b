"""The heart's endpoints, by DRF's routers."""

from __future__ import annotations

from django.urls import re_path
from rest_framework.routers import SimpleRouter

from collections_app.api.collections import CollectionViewSet
from collections_app.api.jobs import JobViewSet
from collections_app.api.records import BatchView, RecordViewSet
from collections_app.api.schema_moves import SchemaExportView, SchemaImportView


class OptionalSlashRouter(SimpleRouter):
    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


router = OptionalSlashRouter()
router.register(r"collections/(?P<collection>[^/]+)/records", RecordViewSet, basename="record")
router.register("jobs", JobViewSet, basename="job")
router.register("collections", CollectionViewSet, basename="collection")

urlpatterns = [
    re_path(r"^batch/?$", BatchView.as_view(), name="batch"),
    re_path(r"^collections/export/?$", SchemaExportView.as_view(), name="schema-export"),
    re_path(r"^collections/import/?$", SchemaImportView.as_view(), name="schema-import"),
    *router.urls,
]
