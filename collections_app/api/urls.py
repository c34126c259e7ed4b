"""The heart's endpoints, by DRF's routers."""

from __future__ import annotations

from django.urls import re_path
from rest_framework.routers import SimpleRouter

from collections_app.api.collections import CollectionViewSet
from collections_app.api.records import BatchView, RecordViewSet


class OptionalSlashRouter(SimpleRouter):
    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


router = OptionalSlashRouter()
router.register(r"collections/(?P<collection>[^/]+)/records", RecordViewSet, basename="record")
router.register("collections", CollectionViewSet, basename="collection")

urlpatterns = [
    re_path(r"^batch/?$", BatchView.as_view(), name="batch"),
    *router.urls,
]
