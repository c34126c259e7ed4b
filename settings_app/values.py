"""What the settings are now. Read from the database each time: all processes see a change at once."""

from __future__ import annotations

from typing import Any

from settings_app import registry
from settings_app.models import CmsSetting


def get(key: str) -> Any:
    """The value of a declared setting, its default where nobody has set it."""
    setting = registry.known[key]
    row = CmsSetting.objects.filter(key=key).values_list("value", flat=True).first()
    return setting.default if row is None else row
