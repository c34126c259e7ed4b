"""Moments and times of day. Stored and answered in UTC; a bare date is its midnight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

from django.db import models
from django.utils.dateparse import parse_date, parse_datetime, parse_time
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue
from core import clock

_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,6})?)?")


def parse_moment(text: str) -> datetime | None:
    """An ISO 8601 date or date-time as an aware UTC moment; None if it is neither."""
    text = text.strip()
    try:
        moment = parse_datetime(text)
        if moment is None:
            day = parse_date(text)
            return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_time_of_day(text: str) -> time | None:
    """A time of day such as 10:30 or 10:30:00.5; None for anything else, an offset included."""
    text = text.strip()
    try:
        return parse_time(text) if _TIME.fullmatch(text) else None
    except ValueError:
        return None


def load_sqlite_moment(raw: str) -> str:
    """Django's own text format on SQLite as ISO 8601."""
    return raw.replace(" ", "T") + "Z"


class DateTime(FieldType):
    name, label, group, value = "datetime", "Date and time", "Date and time", "datetime"
    validation_keys = frozenset({"min", "max"})
    message = "Datetime has wrong format. Use ISO 8601, such as 2025-01-15T10:00:00Z."

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        for key in ("min", "max"):
            bound = validation.get(key)
            if bound is not None and (not isinstance(bound, str) or parse_moment(bound) is None):
                raise InvalidOptions(f"{key} must be an ISO 8601 date or date-time.")

    def clean(self, field: Any, value: Any) -> Any:
        moment = parse_moment(value) if isinstance(value, str) and len(value) <= 64 else None
        if moment is None:
            raise InvalidValue(self.message)
        for key, wrong, word in (("min", -1, "after"), ("max", 1, "before")):
            bound = field.validation.get(key)
            if bound is None:
                continue
            limit = parse_moment(bound)
            if limit is not None and (moment < limit if wrong < 0 else moment > limit):
                raise InvalidValue(f"Ensure this is not {'before' if word == 'after' else 'after'} {bound}.")
        return clock.isoformat(moment)

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.DateTimeField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return load_sqlite_moment if vendor == "sqlite" else clock.isoformat

    def dump(self, vendor: str, value: Any) -> Any:
        if value is None or vendor == "postgresql":
            return value
        return value[:-1].replace("T", " ")

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.DateTimeField(**kwargs)


class Date(DateTime):
    name, label = "date", "Date"
    message = "Date has wrong format. Use ISO 8601, such as 2025-01-15 or 2025-01-15T10:00:00Z."


class AutoDate(DateTime):
    """A moment that the server sets when a record is created, updated, or both."""

    name, label = "autodate", "Automatic date"
    option_key = "autodate"
    validation_keys = frozenset()
    read_only = True

    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(raw) - {"on_create", "on_update"})
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        chosen = {"on_create": raw.get("on_create", True), "on_update": raw.get("on_update", False)}
        if not all(isinstance(value, bool) for value in chosen.values()):
            raise InvalidOptions("on_create and on_update must be true or false.")
        if not any(chosen.values()):
            raise InvalidOptions("Set on_create, on_update or both.")
        return chosen


class Time(FieldType):
    name, label, group, value = "time", "Time of day", "Date and time", "time"

    def clean(self, field: Any, value: Any) -> Any:
        moment = parse_time_of_day(value) if isinstance(value, str) and len(value) <= 32 else None
        if moment is None:
            raise InvalidValue("Time has wrong format. Use hh:mm or hh:mm:ss.")
        return moment.isoformat()

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.TimeField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return None if vendor == "sqlite" else time.isoformat

    def json_schema(self, field: Any) -> dict[str, Any]:
        # JSON Schema's own format "time" has an offset, which a time of day has not.
        return {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.TimeField(**kwargs)
