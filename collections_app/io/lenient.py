"""A collection without its checks, for those who import what they will put right later.

Nothing is required, and no limit, pattern or format holds; only what a column can't hold
is still refused, and rich text is still cleaned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import connection, models

from collections_app.schema.definition import CollectionDef
from collections_app.schema.fields import Field as FieldDef
from collections_app.schema.fields import FieldType, InvalidValue


class _Lenient(FieldType):
    """Another type, which takes for a text whatever its column holds as one."""

    def __init__(self, kind: FieldType) -> None:
        self._kind = kind

    def __getattribute__(self, name: str) -> Any:
        if name in ("clean", "_kind", "__class__"):
            return object.__getattribute__(self, name)
        return getattr(self._kind, name)

    def clean(self, field: FieldDef, value: Any) -> Any:
        try:
            return self._kind.clean(field, value)
        except InvalidValue:
            if isinstance(value, str) and _holds(self._kind, field, value):
                return value
            raise


def collection(strict: CollectionDef) -> CollectionDef:
    """The same collection, by which values are cleaned but nothing is checked."""
    found: CollectionDef | None = strict.memo.get("lenient")
    if found is None:
        fields = tuple(_field(field) if field.writable and not field.secret else field for field in strict.fields)
        found = strict.memo["lenient"] = replace(strict, fields=fields)
    return found


def can_read(field: FieldDef, value: str) -> bool:
    """Whether the type can make anything of the text, whatever limits the field sets, or its column."""
    try:
        field.kind.clean(replace(field, validation={}, index_bytes=0), value.replace("\x00", " "))
    except InvalidValue:
        return False
    return True


def _field(field: FieldDef) -> FieldDef:
    return replace(field, kind=_Lenient(field.kind), validation={}, required=False)


def _holds(kind: FieldType, field: FieldDef, value: str) -> bool:
    if field.multiple or field.target or field.value != "text" or "\x00" in value:
        return False
    if field.index_bytes and len(value.encode()) > field.index_bytes:
        return False
    column = kind.column(field, connection.vendor)
    if isinstance(column, models.TextField):
        return True
    return isinstance(column, models.CharField) and len(value) <= (column.max_length or len(value))
