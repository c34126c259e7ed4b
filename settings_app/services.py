"""Changing settings. What is declared takes the values it is declared for, any other key any value."""

from __future__ import annotations

import math
import re
from typing import Any

from core import clock, json
from core.errors import BadRequest, NotFound, ValidationFailed
from settings_app import registry
from settings_app.models import CmsSetting
from settings_app.registry import TYPES, type_of
from settings_app.values import NOT_FOUND, Entry, find, id_of

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
CATEGORY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
MAX_VALUE_BYTES = 100_000
CUSTOM = "custom"
_WORDS = {"true": True, "1": True, "false": False, "0": False}


def put(
    key: str,
    value: Any,
    *,
    by: str,
    type: str | None = None,
    category: str | None = None,
    description: str | None = None,
) -> Entry:
    """Set a key, by the person with the id ``by``; what is not given stays, or is as declared.

    Raises ValidationFailed for a key, category or value that can't be.
    """
    setting = registry.known.get(key)
    problems = {}
    if not KEY.fullmatch(key):
        problems["key"] = ["A key has 1 to 100 letters, digits, dots, dashes or underscores, a letter first."]
    if category is not None and not CATEGORY.fullmatch(category):
        problems["category"] = ["A category has 1 to 50 letters, digits, dashes or underscores, a letter first."]
    if setting is not None and type not in (None, setting.type):
        problems["type"] = [f"This setting is of type {setting.type}."]
    if len(json.dumps(value)) > MAX_VALUE_BYTES:
        problems["value"] = [f"A value takes at most {MAX_VALUE_BYTES:,} bytes."]
    elif _is_beyond_integers(value):
        problems["value"] = ["A whole number has at most 64 bits."]
    if problems:
        raise ValidationFailed(fields=problems)
    if setting is not None:
        setting.check(value)
    row = CmsSetting.objects.filter(key=key).first()
    row = row or CmsSetting(
        id=id_of(key),
        key=key,
        category=setting.category if setting else CUSTOM,
        description=setting.description if setting else "",
    )
    row.value = value
    row.type = setting.type if setting else type_of(value) if type is None else type
    row.category = row.category if category is None else category
    row.description = row.description if description is None else description
    row.updated_at, row.updated_by = clock.now(), by
    # Whoever sets it at the same time writes the same row: its id follows from the key.
    CmsSetting.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["value", "type", "category", "description", "updated_at", "updated_by"],
    )
    return find(key)


def remove(key: str) -> None:
    """Forget what was set: a declared key has its default again. NotFound where nothing was."""
    if not CmsSetting.objects.filter(key=key).delete()[0]:
        raise NotFound(NOT_FOUND)


def type_for(key: str, type: str | None) -> str:
    """The type of a value that is about to be set: as declared, as asked for, as it was, or text."""
    if key in registry.known:
        return registry.known[key].type
    return type or CmsSetting.objects.filter(key=key).values_list("type", flat=True).first() or "string"


def read(value: Any, type: str) -> Any:
    """A value of this type from its text, as some clients send all values; ValidationFailed."""
    if not isinstance(value, str) or type == "string":
        found = value
    elif type == "boolean":
        found = _WORDS.get(value.strip().lower())
    else:
        try:
            found = json.loads(value.encode(errors="surrogatepass"))
        except BadRequest as fault:
            raise _no(type) from fault
    if not TYPES[type](found) or (isinstance(found, float) and not math.isfinite(found)):
        raise _no(type)
    return found


def text(value: Any) -> str:
    """The same the other way."""
    return value if isinstance(value, str) else json.dumps(value).decode()


def _is_beyond_integers(value: Any) -> bool:
    """Whether a number in the value comes back from a database as an integer that no JSON writer takes."""
    if isinstance(value, (dict, list)):
        return any(map(_is_beyond_integers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and abs(value) >= 2**63


def _no(type: str) -> ValidationFailed:
    return ValidationFailed(fields={"value": [f"Expected a value of type {type}."]})
