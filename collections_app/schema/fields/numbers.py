"""Numbers: floating, whole and exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal as PyDecimal
from decimal import InvalidOperation
from typing import Any

from django.db import models
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue

INVALID = "A valid number is required."
MAX_INTEGER = 2**63 - 1


def _bounds(validation: Mapping[str, Any], value: Any, show: Any) -> None:
    low, high = validation.get("min"), validation.get("max")
    messages = []
    if low is not None and value < show(low):
        messages.append(f"Ensure this value is greater than or equal to {low}.")
    if high is not None and value > show(high):
        messages.append(f"Ensure this value is less than or equal to {high}.")
    if messages:
        raise InvalidValue(*messages)


def _exact(value: Any) -> PyDecimal:
    return PyDecimal(str(value))


class Number(FieldType):
    """A 64-bit float. Whole values are shown without a fraction, as they were sent."""

    name, label, group, value = "number", "Number", "Numbers", "number"
    validation_keys = frozenset({"min", "max"})

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        for key in ("min", "max"):
            bound = validation.get(key)
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, (int, float, str)):
                raise InvalidOptions(f"{key} must be a number.")
            try:
                if not _exact(bound).is_finite():
                    raise InvalidOptions(f"{key} must be a number.")
            except InvalidOperation as error:
                raise InvalidOptions(f"{key} must be a number.") from error
        low, high = validation.get("min"), validation.get("max")
        if low is not None and high is not None and _exact(low) > _exact(high):
            raise InvalidOptions("min is greater than max.")

    def clean(self, field: Any, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise InvalidValue(INVALID)
        try:
            number = float(value)
        except (ValueError, OverflowError) as error:
            raise InvalidValue(INVALID) from error
        if not math.isfinite(number) or (isinstance(value, str) and "_" in value):
            raise InvalidValue(INVALID)
        _bounds(field.validation, number, float)
        return self.load_float(number)

    @staticmethod
    def load_float(value: float) -> float | int:
        return int(value) if value.is_integer() and abs(value) < 2**53 else value

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.FloatField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return self.load_float

    def dump(self, vendor: str, value: Any) -> Any:
        return None if value is None else float(value)

    def json_schema(self, field: Any) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "number"}
        for key, name in (("min", "minimum"), ("max", "maximum")):
            if field.validation.get(key) is not None:
                schema[name] = float(field.validation[key])
        return schema

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.FloatField(**kwargs)


class Integer(Number):
    name, label, value = "integer", "Whole number", "integer"

    def clean(self, field: Any, value: Any) -> Any:
        message = "A valid integer is required."
        if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
            # Beyond that a float is not the number that was written.
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise InvalidValue(message)
        try:
            if isinstance(value, str) and ("_" in value or len(value) > 40):
                raise ValueError(value)
            number = int(value)
        except ValueError as error:
            raise InvalidValue(message) from error
        if not -MAX_INTEGER - 1 <= number <= MAX_INTEGER:
            raise InvalidValue("This number does not fit into 64 bits.")
        _bounds(field.validation, number, _exact)
        return number

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.BigIntegerField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return None

    def dump(self, vendor: str, value: Any) -> Any:
        return value

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {**super().json_schema(field), "type": "integer"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.IntegerField(**kwargs)


class Decimal(Number):
    """An exact decimal, text in JSON.

    At most 15 significant digits, which SQLite compares and sorts exactly. With
    ``places`` every value has that many; without, as many as it needs, two or more.
    """

    name, label, value = "decimal", "Decimal (money)", "decimal"
    option_key = "decimal"
    max_digits = 15

    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(raw) - {"places"})
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        places = raw.get("places")
        if places is not None and (isinstance(places, bool) or not isinstance(places, int) or not 0 <= places <= 15):
            raise InvalidOptions("places must be a whole number from 0 to 15.")
        return {"places": places}

    def signature(self, field: Any) -> tuple[Any, ...]:
        return (self.name, field.storage, field.options["places"])

    def clean(self, field: Any, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 60:
            raise InvalidValue(INVALID)
        try:
            number = PyDecimal(str(value).strip())
        except InvalidOperation as error:
            raise InvalidValue(INVALID) from error
        if not number.is_finite() or "_" in str(value) or abs(number.adjusted()) > 40:
            raise InvalidValue(INVALID)
        digits = number.normalize().as_tuple()
        exponent = int(digits.exponent)
        used = max(len(digits.digits) + max(exponent, 0), -exponent)
        places = field.options["places"]
        if places is not None and -exponent > places:
            raise InvalidValue(f"Ensure that there are no more than {places} decimal places.")
        if used > self.max_digits:
            raise InvalidValue(f"Ensure that there are no more than {self.max_digits} digits in total.")
        _bounds(field.validation, number, _exact)
        return self.show(number, places)

    @staticmethod
    def show(number: PyDecimal, places: int | None) -> str:
        """Plain notation with exactly ``places`` decimals, or with two or more."""
        if places is None:
            places = max(2, -int(number.normalize().as_tuple().exponent))
        return f"{number:.{places}f}".replace("-0." + "0" * places, "0." + "0" * places)

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.DecimalField(max_digits=30, decimal_places=15, null=True, blank=True)

    def dump(self, vendor: str, value: Any) -> Any:
        if value is None:
            return None
        return PyDecimal(value) if vendor == "postgresql" else value

    def loader(self, field: Any, vendor: str) -> Any:
        places = field.options["places"]
        return lambda raw: self.show(PyDecimal(repr(raw) if isinstance(raw, float) else raw), places)

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "string", "format": "decimal", "pattern": r"^-?\d+(\.\d+)?$"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.CharField(**kwargs)


class Bool(FieldType):
    """True or false; a value that was never given is false."""

    name, label, group, value = "bool", "Yes / no", "Choices", "bool"
    can_be_unique = False
    _words = {
        **dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True),
        **dict.fromkeys(("false", "0", "no", "n", "off", "f"), False),
    }

    def empty(self, field: Any) -> Any:
        return False

    def clean(self, field: Any, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, str)):
            known = self._words.get(str(value).strip().lower())
            if known is not None:
                return known
        raise InvalidValue("Must be a valid boolean.")

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.BooleanField(null=True, blank=True)

    def loader(self, field: Any, vendor: str) -> Any:
        return bool if vendor == "sqlite" else None

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "boolean"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        kwargs.pop("allow_null", None)
        kwargs.pop("allow_blank", None)
        return serializers.BooleanField(**{**kwargs, "required": False})
