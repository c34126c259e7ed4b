"""Reading themes: which there are, and which holds."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Q, QuerySet

from core.errors import NotFound
from settings_app import values
from settings_app.registry import Setting
from settings_app.themes.models import Theme, WrittenConfig

ACTIVE = "active_theme_id"
NOT_FOUND = "Theme not found"
NONE_ACTIVE = "No active theme found"


def visible(*, admin: bool) -> QuerySet[Theme]:
    """The themes that a caller may choose from: all of them for admins, else those that are available."""
    themes = Theme.objects.prefetch_related("settings")
    return themes if admin else themes.filter(is_active=True)


def find(theme_id: str, *, admin: bool) -> Theme:
    """One of :func:`visible`; NotFound for anything else."""
    key = _key(theme_id)
    theme = visible(admin=admin).filter(pk=key).first() if key else None
    if theme is None:
        raise NotFound(NOT_FOUND)
    return theme


def current() -> Theme | None:
    """The theme of the site: the one that is set, else the default."""
    key = _key(values.get(ACTIVE))
    wanted = Q(is_default=True) | Q(pk=key, is_active=True) if key else Q(is_default=True)
    found = list(Theme.objects.filter(wanted).prefetch_related("settings"))
    return next((theme for theme in found if theme.pk == key), found[0] if found else None)


def the_current() -> Theme:
    """The same; NotFound where there is none."""
    theme = current()
    if theme is None:
        raise NotFound(NONE_ACTIVE)
    return theme


def written() -> WrittenConfig | None:
    """What ``theme-config.json`` holds, if it was ever written."""
    return WrittenConfig.objects.first()


def setting() -> Setting:
    """The declaration of the setting that says which theme holds."""
    return Setting(
        ACTIVE, "string", "", "themes", "Id of the theme of the site; empty for the default theme", check=_unknown
    )


def _unknown(value: Any) -> str:
    key = _key(value)
    if not value or (key and Theme.objects.filter(pk=key, is_active=True).exists()):
        return ""
    return "There is no such theme that is active."


def _key(text: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if isinstance(text, str) and len(text) == 36 else None
    except ValueError:
        return None
