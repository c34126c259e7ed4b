"""``field+``, ``field-`` and ``+field``: changes relative to what is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import InvalidValue
from collections_app.schema.fields.choices import as_list


def split_key(key: str) -> tuple[str, str]:
    """``"tags+"`` → ``("tags", "+")``, ``"+tags"`` → ``("tags", "prepend")``; no modifier is ``""``."""
    if key.startswith("+"):
        return key[1:], "prepend"
    if key.endswith(("+", "-")):
        return key[:-1], key[-1]
    return key, ""


def resolved(collection: CollectionDef, data: Mapping[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A request's data as rules see it: who sends ``votes+`` sends a value of ``votes``."""
    by_name = collection.by_name
    if all(key in by_name for key in data):
        return data
    plain: dict[str, Any] = {}
    for key, value in data.items():
        name, modifier = (key, "") if key in by_name else split_key(key)
        field = by_name.get(name)
        if field is None or not modifier:
            plain[key] = value
            continue
        try:
            plain[name] = apply_modifier(field, modifier, plain.get(name, _current(field, before)), value)
        except InvalidValue:
            # Refused as soon as it is validated; until then it is what was sent.
            plain[name] = value
    return plain


def _current(field: Field, before: Mapping[str, Any] | None) -> Any:
    return field.kind.empty(field) if before is None else before[field.name]


def apply_modifier(field: Field, modifier: str, current: Any, operand: Any) -> Any:
    """The value that results; InvalidValue where the field has no such modifier."""
    current = _operable(field, current)
    if field.multiple:
        items = as_list(operand)
        if modifier == "+":
            return list(dict.fromkeys([*current, *_texts(items)]))
        if modifier == "prepend":
            return list(dict.fromkeys([*_texts(items), *current]))
        return [item for item in current if item not in items]
    if field.value not in ("number", "integer", "decimal") or modifier == "prepend":
        raise InvalidValue("This field can't be modified relative to its value.")
    try:
        change = Decimal(str(operand)) if not isinstance(operand, bool) else None
    except InvalidOperation:
        change = None
    if change is None or not change.is_finite() or abs(change.adjusted()) > 400:
        raise InvalidValue("A valid number is required.")
    if field.value == "number":
        number = float(current or 0) + float(change if modifier == "+" else -change)
        if not math.isfinite(number):
            raise InvalidValue("A valid number is required.")
        return number
    result = Decimal(str(current or 0)) + (change if modifier == "+" else -change)
    if field.value == "integer" and result != result.to_integral_value():
        raise InvalidValue("A valid integer is required.")
    return int(result) if field.value == "integer" else str(result)


def _operable(field: Field, current: Any) -> Any:
    """What a modifier can work on: the same request may have set the field to anything."""
    if current is None:
        return [] if field.multiple else 0
    if field.multiple:
        if not isinstance(current, list):
            raise InvalidValue("Expected a list of texts.")
        return _texts(current)
    if field.value not in ("number", "integer", "decimal"):
        return current
    try:
        number = None if isinstance(current, bool) else Decimal(str(current))
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > 400:
        raise InvalidValue("A valid number is required.")
    return current


def _texts(items: list[Any]) -> list[str]:
    if not all(isinstance(item, str) for item in items):
        raise InvalidValue("Expected a list of texts.")
    return items
