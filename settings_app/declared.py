"""The settings of the site itself, and of what every request passes."""

from __future__ import annotations

from django.conf import settings

from settings_app import values
from settings_app.registry import Setting, declare

APP_NAME, SITE_NAME = "app_name", "site_name"
MAINTENANCE, MAINTENANCE_MESSAGE = "maintenance_mode", "maintenance_message"
RATE_LIMIT, RATE_WINDOW = "api_rate_limit", "api_rate_limit_window"
API_DOCS = "api_docs_enabled"
MAX_NAME = 100


def declare_settings() -> None:
    declare(
        Setting(
            APP_NAME,
            "string",
            lambda: settings.PROJECT_NAME,
            "app",
            "What this installation is called in the admin, in the API's documents and by /health.",
            longest=MAX_NAME,
            check=_some_name,
        ),
        Setting(
            SITE_NAME,
            "string",
            lambda: values.get(APP_NAME),
            "general",
            "Website name",
            longest=MAX_NAME,
            public=True,
            check=_some_name,
        ),
        Setting("site_description", "string", "", "general", "Website description", public=True),
        Setting(MAINTENANCE, "boolean", False, "app", "Turn away everybody but admins, with 503."),
        Setting(
            MAINTENANCE_MESSAGE,
            "string",
            "The site is being maintained. Please come back in a while.",
            "app",
            "What those who are turned away are told.",
            longest=300,
        ),
        Setting(
            RATE_LIMIT,
            "integer",
            lambda: settings.RATE_LIMIT_REQUESTS,
            "security",
            "How many requests a client may send within one window.",
            least=1,
            most=1_000_000,
            guarded=True,  # one request a day would lock out superadmins too
        ),
        Setting(
            RATE_WINDOW,
            "integer",
            lambda: settings.RATE_LIMIT_WINDOW,
            "security",
            "Seconds of such a window.",
            least=1,
            most=86_400,
            guarded=True,
        ),
        Setting(API_DOCS, "boolean", True, "app", "Whether others than admins see the API's documents."),
        Setting(
            "default_categories",
            "string",
            "news,about,ads",
            "content",
            "The categories that a front end offers, separated by commas.",
            public=True,
        ),
        Setting("enable_search", "boolean", True, "content", "Whether records can be searched.", public=True),
        Setting("pagination_size", "integer", 10, "content", "Records on a page of /api/records.", least=1, most=500),
        Setting("pagination_max_size", "integer", 50, "content", "The most that may be asked for.", least=1, most=500),
    )


def _some_name(value: str) -> str:
    return "" if value.strip() else "A name can't be empty."
