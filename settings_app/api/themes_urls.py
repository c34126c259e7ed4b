"""Themes on both surfaces, and the files that pages load."""

from __future__ import annotations

from core.routes import route
from settings_app.api import themes
from settings_app.themes.files import FILES

urlpatterns = [
    *(route(name, view) for name, view in FILES.items()),
    route("api/v1/themes", themes.ThemesView.as_view()),
    route("api/v1/themes/active", themes.ActiveThemeView.as_view()),
    route("api/v1/themes/write-config", themes.WriteConfigView.as_view()),
    route("api/v1/themes/<theme_id>", themes.OneThemeView.as_view()),
    route("api/v1/themes/<theme_id>/settings", themes.ThemeSettingsView.as_view()),
    route("api/v1/themes/<theme_id>/activate", themes.ActivateView.as_view()),
    route("api/themes", themes.EnvelopedThemesView.as_view()),
    route("api/themes/active", themes.EnvelopedActiveThemeView.as_view()),
    route("api/themes/<theme_id>", themes.EnvelopedOneThemeView.as_view()),
    route("api/themes/<theme_id>/settings", themes.EnvelopedThemeSettingsView.as_view()),
    route("api/themes/<theme_id>/activate", themes.EnvelopedActivateView.as_view()),
    route("api/cms/active-theme", themes.SiteThemeView.as_view()),
    route("api/admin/theme/write-config", themes.EnvelopedWriteConfigView.as_view()),
]
