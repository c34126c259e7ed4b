"""``/api/v1/logs``."""

from __future__ import annotations

from core.routes import route
from monitoring.api import views

urlpatterns = [route("logs", views.LogsView.as_view())]
