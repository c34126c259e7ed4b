"""Texts, and texts of a certain form."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Mapping
from typing import Any

import nh3
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models
from rest_framework import serializers

from collections_app.schema.fields.base import FieldType, InvalidOptions, InvalidValue
from core.addresses import email_address

_LENGTH_KEYS = frozenset({"min_length", "max_length", "pattern"})
MAX_PATTERN = 500


class Text(FieldType):
    name, label = "text", "Plain text"
    validation_keys = _LENGTH_KEYS
    searchable = True
    keeps_empty_text = True

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        low, high = validation.get("min_length"), validation.get("max_length")
        for key, bound in (("min_length", low), ("max_length", high)):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 0):
                raise InvalidOptions(f"{key} must be a whole number, zero or more.")
        if low is not None and high is not None and low > high:
            raise InvalidOptions("min_length is greater than max_length.")
        pattern = validation.get("pattern")
        if pattern is not None:
            if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
                raise InvalidOptions(f"pattern must be a regular expression of at most {MAX_PATTERN} characters.")
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise InvalidOptions(f"pattern is not a regular expression: {error}.") from error

    def clean(self, field: Any, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InvalidValue("Not a valid string.")
        text = self.normalise(field, str(value))
        self.check_length(field, text)
        return text

    def normalise(self, field: Any, text: str) -> str:
        """The text in its canonical form; raises InvalidValue where it has none."""
        return text

    def check_length(self, field: Any, text: str) -> None:
        rules = field.validation
        if "\x00" in text:
            raise InvalidValue("Null characters are not allowed.")
        low, high, pattern = rules.get("min_length"), rules.get("max_length"), rules.get("pattern")
        messages = []
        if low is not None and len(text) < low:
            messages.append(f"Ensure this field has at least {low} characters.")
        if high is not None and len(text) > high:
            messages.append(f"Ensure this field has no more than {high} characters.")
        if pattern is not None and not messages and not re.search(pattern, text):
            messages.append("This value does not match the required pattern.")
        if field.index_bytes and not messages and len(text.encode()) > field.index_bytes:
            messages.append(f"This field is indexed and holds at most {field.index_bytes} bytes.")
        if messages:
            raise InvalidValue(*messages)

    def column(self, field: Any, vendor: str) -> models.Field[Any, Any]:
        return models.TextField(null=True, blank=True, db_collation="C" if vendor == "postgresql" else None)

    def json_schema(self, field: Any) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        for key, name in (("min_length", "minLength"), ("max_length", "maxLength")):
            if field.validation.get(key) is not None:
                schema[name] = field.validation[key]
        return schema

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.CharField(max_length=field.validation.get("max_length"), **kwargs)


class LongText(Text):
    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.CharField(style={"base_template": "textarea.html", "rows": 8}, **kwargs)


class Editor(LongText):
    """Rich text: HTML, cleaned of everything that could run, when it is written."""

    name, label = "editor", "Rich text"

    def normalise(self, field: Any, text: str) -> str:
        return nh3.clean(text) if "<" in text or "&" in text else text


class Markdown(LongText):
    name, label = "markdown", "Markdown"


class Formed(Text):
    """Texts of a fixed form: one regular expression, one sentence."""

    form: re.Pattern[str] | None = None
    message: str
    searchable = keeps_empty_text = False

    def normalise(self, field: Any, text: str) -> str:
        text = text.strip()
        if self.form is None or not self.form.fullmatch(text):
            raise InvalidValue(self.message)
        return text

    def json_schema(self, field: Any) -> dict[str, Any]:
        schema = super().json_schema(field)
        return schema if self.form is None else {**schema, "pattern": f"^({self.form.pattern})$"}


class Email(Text):
    name, label = "email", "E-mail"
    keeps_empty_text = False

    def normalise(self, field: Any, text: str) -> str:
        try:
            kept = email_address(text)
        except ValidationError as error:
            raise InvalidValue("Enter a valid email address.") from error
        # The account's own address identifies it, so its case must not.
        return kept if field.system else text.strip()

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {**super().json_schema(field), "format": "email"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.EmailField(**kwargs)


class Url(Text):
    name, label = "url", "URL"
    keeps_empty_text = False
    _valid = URLValidator(schemes=["http", "https"])

    def normalise(self, field: Any, text: str) -> str:
        text = text.strip()
        try:
            if len(text) > 2048:
                raise ValidationError("too long")
            self._valid(text)
        except (ValidationError, ValueError) as error:
            raise InvalidValue("Enter a valid URL.") from error
        return text

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {**super().json_schema(field), "format": "uri"}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.URLField(**kwargs)


class Slug(Formed):
    name, label = "slug", "Slug"
    form = re.compile(r"[-a-zA-Z0-9_]{1,255}")
    message = "Enter a valid slug of letters, numbers, underscores or hyphens."


class Phone(Formed):
    name, label, group = "phone", "Phone number", "Special"
    validation_keys = frozenset()
    form = re.compile(r"\+?[0-9(][0-9 ().\-]{2,19}")
    message = "Enter a valid phone number."


class Color(Formed):
    name, label, group = "color", "Colour", "Special"
    validation_keys = frozenset()
    form = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3}|[0-9a-fA-F]{8})")
    message = "Enter a colour as #rrggbb."


class Ip(Formed):
    name, label, group = "ip", "IP address", "Special"
    validation_keys = frozenset()
    message = "Enter a valid IPv4 or IPv6 address."

    def normalise(self, field: Any, text: str) -> str:
        try:
            return str(ipaddress.ip_address(text.strip()))
        except ValueError as error:
            raise InvalidValue(self.message) from error

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}


class Uuid(Formed):
    name, label, group = "uuid", "UUID", "Special"
    validation_keys = frozenset()
    message = "Must be a valid UUID."

    def normalise(self, field: Any, text: str) -> str:
        try:
            return str(uuid.UUID(text.strip()))
        except ValueError as error:
            raise InvalidValue(self.message) from error

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


class HashedPassword(str):
    """A hash as the value of a password, made before locks are taken.

    ``plain`` is what was hashed, still to be held against the rules; None where there are none to follow.
    """

    plain: str | None = None

    @classmethod
    def of(cls, plain: str) -> HashedPassword:
        made = cls(make_password(plain))
        made.plain = plain
        return made


class Password(Text):
    """Write-only: stored as a hash of Django's hashers, never read, filtered or sorted by anyone."""

    name, label, group = "password", "Password", "Special"
    validation_keys = frozenset({"min_length", "max_length"})
    searchable = False
    secret = True
    can_be_unique = can_be_indexed = sortable = False

    def clean(self, field: Any, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue("Not a valid string.")
        plain = value.plain if isinstance(value, HashedPassword) else value
        if plain is None:
            return str(value)
        low = field.validation.get("min_length") or 8
        high = min(field.validation.get("max_length") or 128, 128)
        if "\x00" in plain or not low <= len(plain) <= high:
            raise InvalidValue(f"A password has {low} to {high} characters.")
        return str(value) if isinstance(value, HashedPassword) else make_password(value)

    def json_schema(self, field: Any) -> dict[str, Any]:
        return {"type": "string", "format": "password", "writeOnly": True}

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.CharField(style={"input_type": "password"}, write_only=True, **kwargs)
