"""Values with a structure of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
from django.db import models
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue

MAX_SIZE = 1_000_000


class Json(FieldType):
    name, label, group, value = "json", "JSON", "Structured", "json"
    validation_keys = frozenset({"max_size"})
    can_be_unique = can_be_indexed = sortable = False

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        size = validation.get("max_size")
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InvalidOptions("max_size must be a number of bytes.")

    def clean(self, field: Any, value: Any) -> Any:
        try:
            encoded = orjson.dumps(value)
        except (TypeError, orjson.JSONEncodeError) as error:
            raise InvalidValue("Value must be valid JSON.") from error
        limit = field.validation.get("max_size") or MAX_SIZE
        if len(encoded) > limit:
            raise InvalidValue(f"Ensure this value is at most {limit} bytes of JSON.")
        if b"\\u0000" in encoded:
            raise InvalidValue("Null characters are not allowed.")
        return value

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.JSONField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return orjson.loads

    def dump(self, vendor: str, value: Any) -> Any:
        return None if value is None else orjson.dumps(value).decode()

    def is_empty(self, value: Any) -> bool:
        return value is None or value == ""

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        kwargs.pop("allow_blank", None)
        return serializers.JSONField(**kwargs)


class GeoPoint(Json):
    """A place on Earth: ``{"lon": -180…180, "lat": -90…90}`` in degrees (WGS 84)."""

    name, label, value = "geo_point", "Place", "geo"
    validation_keys = frozenset()

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        return None

    def clean(self, field: Any, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise InvalidValue('Expected {"lon": 0, "lat": 0}.') from error
        if not isinstance(value, dict) or set(value) != {"lon", "lat"}:
            raise InvalidValue('Expected {"lon": 0, "lat": 0}.')
        for key, bound in (("lon", 180), ("lat", 90)):
            part = value[key]
            if isinstance(part, bool) or not isinstance(part, (int, float)) or not math.isfinite(part):
                raise InvalidValue(f"{key} must be a number.")
            if not -bound <= part <= bound:
                raise InvalidValue(f"{key} must be between -{bound} and {bound}.")
        return {"lon": value["lon"], "lat": value["lat"]}

    def json_schema(self, field: Any) -> dict[str, Any]:
        number = {"type": "number"}
        return {"type": "object", "properties": {"lon": number, "lat": number}, "required": ["lon", "lat"]}
