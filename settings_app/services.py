"""Changing settings. What is declared takes the values it is declared for, any other key any value."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.db import transaction

from core import clock, json, secret_box
from core.errors import BadRequest, Forbidden, NotFound, ValidationFailed
from core.permissions import Caller
from settings_app import registry, seen, signals
from settings_app.models import CmsSetting
from settings_app.registry import TYPES, Setting, type_of
from settings_app.values import NOT_FOUND, Entry, find, id_of

logger = logging.getLogger("fastcms.settings")

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
CATEGORY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
MAX_VALUE_BYTES = 100_000
MAX_AT_ONCE = 100
CUSTOM = "custom"
MASK = "********"  # what is shown of a secret, and what leaves it as it is
GUARDED = "Only a superadmin may change this setting, and no API key."
_WORDS = {"true": True, "1": True, "false": False, "0": False}


def put(
    key: str,
    value: Any,
    *,
    by: str,
    type: str | None = None,
    category: str | None = None,
    description: str | None = None,
    secret: bool = False,
) -> Entry:
    """Set a key, by the person with the id ``by``; what is not given stays, or is as declared.

    A ``secret`` is a text that is never shown again; it stays secret until it is removed, and nothing
    but asterisks leaves its value as it is. Raises ValidationFailed for a key, category or value that can't be.
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
    elif _has_nul(value):
        problems["value"] = ["A value holds no NUL character."]
    if problems:
        raise ValidationFailed(fields=problems)
    with transaction.atomic():
        row = CmsSetting.objects.filter(key=key).first()
        is_secret = setting.secret if setting else secret or (row is not None and row.secret)
        is_kept = is_secret and _is_mask(value)
        if is_kept and row is None and setting is None:
            raise ValidationFailed(fields={"value": ["There is no secret that could stay as it is."]})
        if not is_kept:
            value = _accepted(value, setting, is_secret)
            if setting and setting.forgets and (row is None or row.value != value):
                CmsSetting.objects.filter(key__in=setting.forgets).delete()
            row = row or _new(key, setting)
            row.value, row.secret = value, is_secret
            row.type = setting.type if setting else "string" if is_secret else type or type_of(value)
            row.category = row.category if category is None else category
            row.description = row.description if description is None else description
            row.updated_at, row.updated_by = clock.now(), by
            # Whoever sets it at the same time writes the same row: its id follows from the key.
            CmsSetting.objects.bulk_create(
                [row],
                update_conflicts=True,
                unique_fields=["key"],
                update_fields=["value", "secret", "type", "category", "description", "updated_at", "updated_by"],
            )
            _tell(key, "set", by)
        return find(key)


def put_several(changes: Mapping[str, Any], *, by: str) -> list[Entry]:
    """Set all of these keys or, where one can't be, none: ValidationFailed names all that can't, by their keys."""
    if not 1 <= len(changes) <= MAX_AT_ONCE:
        raise ValidationFailed(f"Send 1 to {MAX_AT_ONCE} settings.")
    found: list[Entry] = []
    problems: dict[str, list[str]] = {}
    with transaction.atomic():
        # All in one order: two who write the same wait for each other, not in a circle. What forgets others first.
        for key in sorted(changes, key=lambda key: (not _forgets(key), key)):
            try:
                found.append(put(key, changes[key], by=by))
            except ValidationFailed as refused:
                problems[key] = [text for texts in refused.fields.values() for text in texts]
        if problems:
            raise ValidationFailed(fields=problems)
    return found


def remove(key: str, *, by: str = "") -> None:
    """Forget what was set: a declared key has its default again. NotFound where nothing was."""
    with transaction.atomic():
        if not CmsSetting.objects.filter(key=key).delete()[0]:
            raise NotFound(NOT_FOUND)
        CmsSetting.objects.filter(key__in=_forgets(key)).delete()
        _tell(key, "forgotten", by)


def require_right(caller: Caller, keys: Iterable[str]) -> None:
    """Forbidden where the caller, an admin, may not change one of these settings."""
    if any(key in registry.known and registry.known[key].guarded for key in keys) and not (
        caller.is_superadmin and caller.is_person
    ):
        raise Forbidden(GUARDED)


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


def _new(key: str, setting: Setting | None) -> CmsSetting:
    return CmsSetting(
        id=id_of(key),
        key=key,
        category=setting.category if setting else CUSTOM,
        description=setting.description if setting else "",
    )


def _accepted(value: Any, setting: Setting | None, is_secret: bool) -> Any:
    """The value as it is stored; ValidationFailed."""
    if setting is not None:
        setting.accept(value)
    elif is_secret and not isinstance(value, str):
        raise _no("string")
    return secret_box.seal(value) if is_secret else value


def _forgets(key: str) -> tuple[str, ...]:
    return registry.known[key].forgets if key in registry.known else ()


def _tell(key: str, what: str, by: str) -> None:
    """After the commit: this process looks, and others are told. The log says who did what, and no value."""
    transaction.on_commit(partial(logger.info, "setting %s was %s by %s", key, what, by or "the server"))
    transaction.on_commit(seen.look, robust=True)
    transaction.on_commit(partial(signals.changed.send, sender=None, keys=[key]), robust=True)


def _is_mask(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not value.strip("*")


def _has_nul(value: Any) -> bool:
    """Whether a text in the value holds what PostgreSQL keeps in no text."""
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(inner) for key, inner in value.items())
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


def _is_beyond_integers(value: Any) -> bool:
    """Whether a number in the value comes back from a database as an integer that no JSON writer takes."""
    if isinstance(value, (dict, list)):
        return any(map(_is_beyond_integers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and abs(value) >= 2**63


def _no(type: str) -> ValidationFailed:
    return ValidationFailed(fields={"value": [f"Expected a value of type {type}."]})
