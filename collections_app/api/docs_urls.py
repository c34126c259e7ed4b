"""Where to start: ``/api/v1`` itself, ``/api/schema``, ``/docs``, ``/api/docs`` and ``/api/redoc``."""

from __future__ import annotations

from collections_app.api.openapi import views
from collections_app.api.start import StartView
from core.routes import route

urlpatterns = [
    route("api/v1", StartView.as_view(), name="start"),
    route("api/schema", views.SchemaView.as_view(), name="openapi-schema"),
    route("docs", views.swagger_ui, name="docs"),
    route("api/docs", views.swagger_ui),
    route("api/redoc", views.redoc, name="redoc"),
]
