"""References to records of another collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue
from collections_app.schema.fields.choices import as_list, at_most

TO_ONE = ("many-to-one", "one-to-one")
KINDS = (*TO_ONE, "many-to-many")
DEFAULT_MAX = 999


class Relation(FieldType):
    """Many-to-one and one-to-one are a foreign key; many-to-many a table that keeps the order."""

    name, label, group = "relation", "Relation", "Relations"
    option_key = "relation"

    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        allowed = {"collection_id", "type", "cascade_delete", "display_fields", "max_select", "min_select"}
        unknown = sorted(set(raw) - allowed)
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        collection = raw.get("collection_id")
        if not isinstance(collection, str) or not collection:
            raise InvalidOptions("collection_id must be the id or the name of a collection.")
        limit = raw.get("max_select")
        kind = raw.get("type") or ("many-to-many" if isinstance(limit, int) and limit > 1 else "many-to-one")
        if kind not in KINDS:
            raise InvalidOptions(f"type must be one of {', '.join(KINDS)}.")
        cascade = raw.get("cascade_delete", False)
        if not isinstance(cascade, bool):
            raise InvalidOptions("cascade_delete must be true or false.")
        display = raw.get("display_fields") or []
        if not isinstance(display, list) or not all(isinstance(name, str) for name in display):
            raise InvalidOptions("display_fields must be a list of field names.")
        if kind in TO_ONE:
            return {"collection_id": collection, "type": kind, "cascade_delete": cascade, "display_fields": display}
        return {
            "collection_id": collection,
            "type": kind,
            "cascade_delete": cascade,
            "display_fields": display,
            "max_select": at_most("max_select", {"max_select": DEFAULT_MAX if limit is None else limit}, DEFAULT_MAX),
        }

    def multiple(self, options: Mapping[str, Any]) -> bool:
        return bool(options["type"] not in TO_ONE)

    def storage(self, options: Mapping[str, Any]) -> str:
        return "through" if self.multiple(options) else "column"

    def target(self, options: Mapping[str, Any]) -> str:
        return str(options["collection_id"])

    def signature(self, field: Any) -> tuple[Any, ...]:
        return (self.name, field.storage, field.target)

    def clean(self, field: Any, value: Any) -> Any:
        """Ids; that they exist is checked once for all of a record's relations."""
        chosen = as_list(value)
        for item in chosen:
            if not isinstance(item, str) or not item or len(item) > 64 or "\x00" in item:
                raise InvalidValue("Expected the id of a record.")
        if not field.multiple:
            if len(chosen) != 1:
                raise InvalidValue("Expected one id.")
            return chosen[0]
        chosen = list(dict.fromkeys(chosen))
        if len(chosen) > field.options["max_select"]:
            raise InvalidValue(f"Choose at most {field.options['max_select']} records.")
        return chosen

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        raise NotImplementedError("A relation's column is a foreign key; schema.tables builds it.")

    def json_schema(self, field: Any) -> dict[str, Any]:
        one = {"type": "string"}
        return {"type": "array", "items": one} if field.multiple else one

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        if field.multiple:
            kwargs.pop("allow_blank", None)
            kwargs.pop("allow_null", None)
            return serializers.ListField(child=serializers.CharField(), **kwargs)
        return serializers.CharField(**kwargs)
