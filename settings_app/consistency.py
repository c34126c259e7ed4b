"""Whether there is a look to fall back on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from django.apps import apps

from core.consistency import Problem
from settings_app.models import Theme


def check() -> Iterator[Problem]:
    default = Theme.objects.filter(is_default=True).first()
    if default is None or not default.settings.exists():
        yield Problem("There is no default theme, or it has no settings.", _lay_down)


def _lay_down() -> None:
    """As the first start did."""
    import_module("settings_app.migrations.0004_default_theme").lay_down(apps, None)
