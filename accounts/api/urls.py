"""Under ``/api/v1/auth/`` and ``/api/auth/``."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
