"""Every surface, under its prefix. A trailing slash is optional; a POST is never redirected."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.urls import include, path, re_path

from accounts.api import urls as accounts_urls
from accounts.oauth import urls as oauth_urls
from cms_project import pages

urlpatterns = [
    path("", pages.start),
    path("", include("accounts.pages")),
    path("", include("cms_project.health")),
    path("", include("cms_project.metrics")),
    re_path(r"^api/(?:v1/)?auth/", include(accounts_urls.urlpatterns)),
    re_path(r"^api/v1/oauth/", include(oauth_urls.urlpatterns)),
    path("api/v1/", include("accounts.api.users_urls")),
    path("api/", include("accounts.api.enveloped_urls")),
    re_path(r"^api/v1/collections/(?P<collection>[^/]+)/auth/", include(accounts_urls.urlpatterns)),
    path("api/v1/", include("settings_app.api.urls")),
    path("api/cms/", include("settings_app.api.enveloped_urls")),
    path("", include("settings_app.api.themes_urls")),
    path("api/v1/", include("collections_app.api.urls")),
    path("api/", include("collections_app.api.enveloped_urls")),
    path("api/v1/", include("collections_app.api.files_urls")),
    path("", include("collections_app.api.docs_urls")),
    path("admin/", admin.site.urls),
]

if apps.is_installed("monitoring"):
    urlpatterns.append(path("api/v1/", include("monitoring.api.urls")))
if apps.is_installed("webhooks"):
    urlpatterns.append(path("api/v1/", include("webhooks.api.urls")))
if apps.is_installed("realtime"):
    urlpatterns.append(path("api/v1/", include("realtime.api.urls")))
if apps.is_installed("backups"):
    urlpatterns.append(path("api/v1/", include("backups.api.urls")))

handler400 = "core.error_pages.bad_request"
handler403 = "core.error_pages.permission_denied"
handler404 = "core.error_pages.page_not_found"
handler500 = "core.error_pages.server_error"
