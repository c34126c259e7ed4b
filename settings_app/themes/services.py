"""Changing themes. Whoever calls has asked whether the caller may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from core import clock
from core.errors import BadRequest, Conflict, NotFound, ValidationFailed
from settings_app import services as settings
from settings_app.themes import keys, selectors
from settings_app.themes.models import Theme, ThemeSetting

MAX_THEMES = 500
INCOMPLETE = "Key and non-empty value are required"
IS_DEFAULT = "This is the default theme. Make another one the default first."
IS_CURRENT = "This is the theme of the site. Activate another one first."


def create(given: Mapping[str, Any], *, by: str) -> Theme:
    """A new theme from ``name`` and optionally ``description``, ``is_active``, ``is_default``, ``settings``.

    Raises ValidationFailed with every value that can't be, Conflict beyond ``MAX_THEMES``.
    """
    wanted = _checked(given.get("settings", {}))
    with transaction.atomic():
        if Theme.objects.count() >= MAX_THEMES:
            raise Conflict(f"There are {MAX_THEMES} themes already.")
        theme = Theme(created_by=by)
        _change(theme, given)
        theme.save(force_insert=True)
        _put(theme, wanted)
    return selectors.find(str(theme.pk), admin=True)


def update(theme_id: str, given: Mapping[str, Any]) -> Theme:
    """Change what is given; of ``settings`` the keys that are given, and null takes one away.

    Raises NotFound, ValidationFailed, and Conflict for what would leave the site without a theme.
    """
    wanted = _checked(given.get("settings", {}))
    with transaction.atomic():
        theme = _locked(theme_id)
        _change(theme, given)
        theme.updated_at = clock.now()
        theme.save(force_update=True)
        _put(theme, wanted)
    return selectors.find(theme_id, admin=True)


def set_value(theme_id: str, key: Any, value: Any, type: str | None = None) -> Theme:
    """Set one setting. BadRequest without a key or with an empty value, else as :func:`update`."""
    if not isinstance(key, str) or not key.strip() or value is None or value == "":
        raise BadRequest(INCOMPLETE)
    wanted = _checked({key: keys.read(value, keys.type_of(key, value, type))}, {key: type} if type else {})
    with transaction.atomic():
        theme = _locked(theme_id)
        theme.updated_at = clock.now()
        theme.save(update_fields=["updated_at"])
        _put(theme, wanted)
    return selectors.find(theme_id, admin=True)


def delete(theme_id: str) -> None:
    """Forget a theme; Conflict for the one of the site and for the default. NotFound."""
    with transaction.atomic():
        theme = _locked(theme_id)
        if theme.is_default:
            raise Conflict(IS_DEFAULT)
        if theme == selectors.current():
            raise Conflict(IS_CURRENT)
        theme.delete()


def activate(theme_id: str, *, by: str) -> Theme:
    """Make it the theme of the site, and available if it was not. NotFound."""
    with transaction.atomic():
        theme = _locked(theme_id)
        if not theme.is_active:
            theme.is_active, theme.updated_at = True, clock.now()
            theme.save(update_fields=["is_active", "updated_at"])
        settings.put(selectors.ACTIVE, str(theme.pk), by=by)
    return selectors.find(theme_id, admin=True)


def _locked(theme_id: str) -> Theme:
    """The theme, which holds still until the transaction ends."""
    found = selectors.find(theme_id, admin=True)
    held = Theme.objects.select_for_update().filter(pk=found.pk).first()
    if held is None:  # deleted between the two
        raise NotFound(selectors.NOT_FOUND)
    return held


def _change(theme: Theme, given: Mapping[str, Any]) -> None:
    for name in ("name", "description", "is_active"):
        if name in given:
            setattr(theme, name, given[name])
    if given.get("is_default"):
        theme.is_active = theme.is_active or "is_active" not in given
        if not theme.is_active:
            raise ValidationFailed(fields={"is_active": ["The default theme has to be active."]})
        Theme.objects.filter(is_default=True).exclude(pk=theme.pk).update(is_default=False)
        theme.is_default = True
    elif theme.is_default and "is_default" in given:
        raise Conflict(IS_DEFAULT)
    if given.get("is_active") is False and not theme._state.adding:
        if theme.is_default:
            raise Conflict(IS_DEFAULT)
        if theme == selectors.current():
            raise Conflict(IS_CURRENT)


def _checked(wanted: Mapping[str, Any], types: Mapping[str, str] | None = None) -> list[ThemeSetting]:
    """The settings as rows without a theme; a value of None takes the key away. ValidationFailed with all problems."""
    asked = types or {}
    problems = {
        f"settings.{key}": found
        for key, value in wanted.items()
        if value is not None and (found := keys.problems(key, value, asked.get(key)))
    }
    if problems:
        raise ValidationFailed(fields=problems)
    return [
        ThemeSetting(key=key, value=value, type=keys.type_of(key, value, asked.get(key)))
        for key, value in wanted.items()
    ]


def _put(theme: Theme, wanted: list[ThemeSetting]) -> None:
    kept = [row for row in wanted if row.value is not None]
    for row in kept:
        row.theme = theme
    theme.settings.filter(key__in=[row.key for row in wanted if row.value is None]).delete()
    ThemeSetting.objects.bulk_create(
        kept, update_conflicts=True, unique_fields=["theme", "key"], update_fields=["value", "type"]
    )
    if theme.settings.count() > keys.MAX_KEYS:
        raise ValidationFailed(fields={"settings": [f"A theme has at most {keys.MAX_KEYS} settings."]})
