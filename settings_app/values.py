"""What the settings are now. Read from the database each time: all processes see a change at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import NotFound
from settings_app import registry
from settings_app.models import CmsSetting
from settings_app.registry import Setting

NOT_FOUND = "Setting not found"
_IDS = uuid.UUID("5f0c0d0e-3a55-5f6f-9b7e-0f4f3f0c5a11")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value: one that somebody has set, or a declared one with its default."""

    key: str
    value: Any
    type: str
    category: str
    description: str
    updated_at: datetime | None = None
    updated_by: str = ""

    @property
    def id(self) -> str:
        return str(id_of(self.key))


def get(key: str) -> Any:
    """The value of a declared setting, its default where nobody has set it."""
    setting = registry.known[key]
    row = CmsSetting.objects.filter(key=key).values_list("value", flat=True).first()
    return setting.default if row is None else row


def find(key: str) -> Entry:
    """What a key is now; NotFound for one that is neither declared nor set."""
    row = CmsSetting.objects.filter(key=key).first()
    if row is not None:
        return _set(row)
    if key in registry.known:
        return _default(registry.known[key])
    raise NotFound(NOT_FOUND)


def entries(category: str | None = None) -> list[Entry]:
    """All that is declared or set, or what of it is in one category, by category and key."""
    found = {entry.key: entry for entry in _entries()}
    shown = [entry for entry in found.values() if category is None or entry.category == category]
    return sorted(shown, key=lambda entry: (entry.category, entry.key))


def id_of(key: str) -> uuid.UUID:
    """Of a setting, whether it is set or not: it follows from the key."""
    return uuid.uuid5(_IDS, key)


def _entries() -> Iterable[Entry]:
    yield from map(_default, registry.known.values())
    yield from map(_set, CmsSetting.objects.all())


def _default(setting: Setting) -> Entry:
    return Entry(setting.key, setting.default, setting.type, setting.category, setting.description)


def _set(row: CmsSetting) -> Entry:
    return Entry(row.key, row.value, row.type, row.category, row.description, row.updated_at, row.updated_by)
