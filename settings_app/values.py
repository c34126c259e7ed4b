"""What the settings are now: asked of the database each time, so a change holds everywhere with the next request.

Who answers on the event loop, and has no time for that, asks :mod:`settings_app.seen`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import secret_box
from core.errors import NotFound
from settings_app import registry
from settings_app.models import CmsSetting
from settings_app.registry import Setting

NOT_FOUND = "Setting not found"
_IDS = uuid.UUID("5f0c0d0e-3a55-5f6f-9b7e-0f4f3f0c5a11")

logger = logging.getLogger("fastcms.settings")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value: one that somebody has set, or a declared one with its default.

    Of a ``secret`` the value is not here; ``is_set`` says whether there is one.
    """

    key: str
    value: Any
    type: str
    category: str
    description: str
    updated_at: datetime | None = None
    updated_by: str = ""
    secret: bool = False
    is_set: bool = True

    @property
    def id(self) -> str:
        return str(id_of(self.key))


def get(key: str) -> Any:
    """The value of a declared setting, its default where nobody has set it."""
    return several(key)[key]


def several(*keys: str) -> dict[str, Any]:
    """The values of some declared settings, read together."""
    found = overrides(keys)
    return {key: found[key] if key in found else registry.known[key].standard for key in keys}


def overrides(keys: Iterable[str]) -> dict[str, Any]:
    """The values of those of the keys that somebody has set.

    A secret that can't be read counts as not set, and so does what was set before the key was declared as it is.
    """
    rows = CmsSetting.objects.filter(key__in=list(keys)).values_list("key", "value", "secret")
    found = {key: _unsealed(key, value) if secret else value for key, value, secret in rows}
    return {key: value for key, value in found.items() if value is not None and registry.known[key].takes(value)}


def versions() -> frozenset[tuple[str, datetime]]:
    """The keys that somebody has set, each with when: another set after each change, whichever is committed first."""
    return frozenset(CmsSetting.objects.order_by().values_list("key", "updated_at"))


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
    value = setting.standard
    kind = setting.type, setting.category, setting.description
    if setting.secret:
        return Entry(setting.key, None, *kind, secret=True, is_set=bool(value))
    return Entry(setting.key, value, *kind)


def _set(row: CmsSetting) -> Entry:
    told = row.type, row.category, row.description, row.updated_at, row.updated_by
    setting = registry.known.get(row.key)
    if row.secret or (setting is not None and setting.secret):  # also what was set before it was declared one
        value = _unsealed(row.key, row.value) if row.secret else row.value
        return Entry(row.key, None, *told, secret=True, is_set=bool(value))
    return Entry(row.key, row.value, *told)


def _unsealed(key: str, sealed: Any) -> str | None:
    """The secret; None where another ``SECRET_KEY`` has sealed it."""
    from cryptography.fernet import InvalidToken  # 7 MB

    try:
        return secret_box.unseal(sealed)
    except InvalidToken:
        logger.error("the setting %s was encrypted under another SECRET_KEY and counts as not set: set it again", key)
        return None
