"""Settings under ``/api/v1/``."""

from __future__ import annotations

from core.routes import route
from settings_app.api import views

urlpatterns = [
    route("settings", views.SettingsView.as_view()),
    route("settings/<name>", views.SettingView.as_view()),
]
