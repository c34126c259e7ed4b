"""One or several of a fixed set of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import models
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue

MAX_VALUES = 500


def as_list(value: Any) -> list[Any]:
    """A multi-value as clients send it: a list, one value, or JSON text in a form."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise InvalidValue('Expected a list of items, such as ["a", "b"].') from error
    return value if isinstance(value, list) else [value]


def at_most(option: str, raw: Mapping[str, Any], default: int, highest: int = 1000) -> int:
    """An option that counts things, one or more."""
    number = raw.get(option, default)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= highest:
        raise InvalidOptions(f"{option} must be a whole number from 1 to {highest}.")
    return number


class ListStorage(FieldType):
    """Types that hold one text in a text column, or several as a JSON array of texts."""

    def storage(self, options: Mapping[str, Any]) -> str:
        return "list" if self.multiple(options) else "column"

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        if field.multiple:
            return models.JSONField(null=True, blank=True)
        return models.TextField(null=True, blank=True, db_collation="C" if vendor == "postgresql" else None)

    def loader(self, field: Any, vendor: str) -> Any:
        return orjson.loads if field.multiple else None

    def dump(self, vendor: str, value: Any) -> Any:
        return orjson.dumps(value).decode() if isinstance(value, list) else value

    def signature(self, field: Any) -> tuple[Any, ...]:
        return (self.name, field.storage)


class Select(ListStorage):
    name, label, group = "select", "Select", "Choices"
    option_key = "select"

    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(raw) - {"values", "max_select"})
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        values = raw.get("values")
        if not isinstance(values, list) or not values or len(values) > MAX_VALUES:
            raise InvalidOptions(f"values must be a list of 1 to {MAX_VALUES} texts.")
        if not all(isinstance(value, str) and value and len(value) <= 200 and "\x00" not in value for value in values):
            raise InvalidOptions("Each of values must be a text of 1 to 200 characters.")
        if len(set(values)) != len(values):
            raise InvalidOptions("values must not repeat.")
        return {"values": values, "max_select": at_most("max_select", raw, 1)}

    def multiple(self, options: Mapping[str, Any]) -> bool:
        return bool(options["max_select"] > 1)

    def must_convert(self, old: Any, new: Any) -> bool:
        # A value that is taken away may be in use.
        return super().must_convert(old, new) or not set(old.options["values"]) <= set(new.options["values"])

    def clean(self, field: Any, value: Any) -> Any:
        chosen = as_list(value)
        known = field.options["values"]
        for item in chosen:
            if item not in known:
                raise InvalidValue(f'"{str(item)[:100]}" is not a valid choice.')
        if not field.multiple:
            if len(chosen) != 1:
                raise InvalidValue("Choose one value.")
            return chosen[0]
        chosen = list(dict.fromkeys(chosen))
        if len(chosen) > field.options["max_select"]:
            raise InvalidValue(f"Choose at most {field.options['max_select']} values.")
        return chosen

    def json_schema(self, field: Any) -> dict[str, Any]:
        one = {"type": "string", "enum": list(field.options["values"])}
        if not field.multiple:
            return one
        return {"type": "array", "items": one, "maxItems": field.options["max_select"]}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        choices = [(value, value) for value in field.options["values"]]
        if field.multiple:
            kwargs.pop("allow_null", None)
            kwargs.pop("allow_blank", None)
            return serializers.MultipleChoiceField(choices=choices, **kwargs)
        return serializers.ChoiceField(choices=choices, **kwargs)
