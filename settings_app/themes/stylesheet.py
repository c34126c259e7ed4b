"""``/theme.css``: the current theme as CSS custom properties, and nothing else.

Every value in it is written by us, from a value that was checked when it was saved, so sign-in pages may
load it. ``custom_css`` is another file, ``/theme-custom.css``, which no page with a form loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from settings_app.themes import keys
from settings_app.themes.models import Theme
from settings_app.themes.palette import palettes

_ROOT = "html:root"  # stronger than the :root of the pages themselves and of Django's admin
_PUBLIC = "--theme-"  # the theme's own values, for front ends; the names without it are those of our pages


def variables(theme: Theme | None) -> str:
    """The style sheet of a theme; where there is none, that of our pages as they come."""
    settings = theme.values() if theme else {}
    light, dark = palettes(settings)
    shown = _public(settings, "")
    parts = [_rule(_ROOT, {**light.variables(), **shown})]
    if dark is not None:
        night = {**dark.variables(), **_public(settings, keys.DARK)}
        parts.append(f"@media (prefers-color-scheme: dark) {{\n{_rule(_ROOT, night)}}}\n")
        # Where somebody has chosen by hand, as in Django's admin.
        parts.append(_rule(f'{_ROOT}[data-theme="light"]', {**light.variables(), **shown}))
        parts.append(_rule(f'{_ROOT}[data-theme="dark"]', night))
    return "".join(parts)


def custom(theme: Theme | None) -> str:
    """The theme's own CSS, as it was saved."""
    return "" if theme is None else str(theme.values().get(keys.CUSTOM_CSS, ""))


def _public(settings: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """What a theme says of itself, by the names of ``theme-config.json``."""
    return {
        _PUBLIC + key.config_name: settings[prefix + key.name]
        for key in keys.DECLARED
        if key.name != keys.CUSTOM_CSS and prefix + key.name in settings
    }


def _rule(selector: str, declarations: Mapping[str, str]) -> str:
    lines = "".join(f"  {name}: {value};\n" for name, value in declarations.items())
    return f"{selector} {{\n{lines}}}\n"
