"""The theme that is there from the start: how the product's own pages look."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import migrations

DEFAULT = uuid.UUID("7b0e8c3a-5c1d-4f57-9a51-0d2f6f0a7e01")
COLOURS = {
    "primary": ("#3454d1", "#8ea2ff"),
    "secondary": ("#5f626d", "#a3a5b1"),
    "background": ("#f6f6f4", "#131418"),
    "surface": ("#ffffff", "#1b1d23"),
    "text": ("#1c1d21", "#ececf0"),
    "border": ("#d9d9d4", "#363a45"),
    "muted": ("#5f626d", "#a3a5b1"),
    "error": ("#b3261e", "#ff9a92"),
    "success": ("#1f7a4d", "#7fd6a8"),
}
OTHERS = (
    ("font_family", "font", "system-ui, sans-serif"),
    ("font_size", "size", "1rem"),
    ("radius", "size", "0.6rem"),
    ("spacing", "size", "0.5rem"),
    ("shadow", "shadow", "0 4px 24px rgba(0,0,0,0.10)"),
    ("custom_css", "css", ""),
)


def lay_down(apps: Any, schema_editor: Any) -> None:
    """The theme and its settings, or what is missing of them."""
    Theme, ThemeSetting = (apps.get_model("settings_app", name) for name in ("Theme", "ThemeSetting"))
    known = {"name": "Default", "description": "Light and dark, as it comes.", "is_active": True, "is_default": True}
    theme, _ = Theme.objects.get_or_create(pk=DEFAULT, defaults=known)
    colours = [
        (f"{prefix}{name}_color", "color", pair[place])
        for place, prefix in enumerate(("", "dark_"))
        for name, pair in COLOURS.items()
    ]
    ThemeSetting.objects.bulk_create(
        [ThemeSetting(theme=theme, key=key, type=kind, value=value) for key, kind, value in (*colours, *OTHERS)],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("settings_app", "0003_themes")]

    operations = [migrations.RunPython(lay_down, migrations.RunPython.noop)]
