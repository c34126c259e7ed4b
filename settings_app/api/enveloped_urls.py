"""Settings under ``/api/cms/``, in envelopes."""

from __future__ import annotations

from core.routes import route
from settings_app.api import views

urlpatterns = [
    route("settings", views.EnvelopedSettingsView.as_view()),
    route("settings/category/<category>", views.EnvelopedSettingsView.as_view()),
    route("settings/<key>", views.EnvelopedSettingView.as_view()),
    route("public/<name>", views.PublicSettingView.as_view()),
]
