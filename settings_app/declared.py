"""The settings of the site itself. What they mean is the front end's to show."""

from __future__ import annotations

from django.conf import settings

from settings_app.registry import Setting, declare


def declare_settings() -> None:
    declare(
        Setting("site_name", "string", settings.PROJECT_NAME, "general", "Website name"),
        Setting("site_description", "string", "", "general", "Website description"),
    )
