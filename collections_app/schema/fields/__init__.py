"""The registry of field types: a name, and the one object that knows all about it."""

from __future__ import annotations

from collections_app.schema.fields import choices, files, numbers, relations, structured, temporal, text
from collections_app.schema.fields.base import REQUIRED, Field, FieldType, InvalidOptions, InvalidValue
from collections_app.schema.fields.text import HashedPassword

__all__ = [
    "REQUIRED",
    "Field",
    "FieldType",
    "HashedPassword",
    "InvalidOptions",
    "InvalidValue",
    "get",
    "names",
    "register",
]

_types: dict[str, FieldType] = {}


def register(field_type: FieldType) -> FieldType:
    """Add a type; its name must be free."""
    if field_type.name in _types:
        raise ValueError(f"There already is a field type {field_type.name!r}.")
    _types[field_type.name] = field_type
    return field_type


def get(name: str) -> FieldType:
    """The type of that name; KeyError if there is none."""
    return _types[name]


def names() -> list[str]:
    return list(_types)


for _known in (
    text.Text(), text.Editor(), text.Markdown(), text.Email(), text.Url(), text.Slug(),
    numbers.Number(), numbers.Integer(), numbers.Decimal(), numbers.Bool(),
    choices.Select(), temporal.Date(), temporal.DateTime(), temporal.Time(), temporal.AutoDate(),
    relations.Relation(), files.File(), structured.Json(), structured.GeoPoint(),
    text.Uuid(), text.Phone(), text.Color(), text.Ip(), text.Password(),
):  # fmt: skip
    register(_known)
