"""What a client's JSON or form is read with: unknown fields are errors, texts are texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError as InvalidAddress
from rest_framework import serializers

from core.addresses import MAX_CHARS, email_address
from core.error_adapter import NON_FIELD


class Text(serializers.CharField):
    """A text and nothing else: a number or a list is not turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Secret(Text):
    """A text that is taken and never shown: no form has it again when a request is refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_only=True, **kwargs)


class Email(serializers.EmailField):
    """An e-mail address as it is kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_CHARS, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        try:
            return email_address(super().to_internal_value(data))
        except InvalidAddress:
            return self.fail("invalid")


class Flag(serializers.BooleanField):
    """True or false; of the words for them only those that forms send."""

    TRUE_VALUES = {True, "true", "on"}
    FALSE_VALUES = {False, "false", "off"}

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(data, bool) or (isinstance(data, str) and data.lower() in self.TRUE_VALUES | self.FALSE_VALUES):
            return bool(super().to_internal_value(data))
        return self.fail("invalid", input=data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, after renaming ``aliases``; all problems come at once."""

    aliases: Mapping[str, str] = {}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({NON_FIELD: ["Expected an object."]})
        # Of several spellings the first wins; the browsable API's forms carry their CSRF token along.
        values = {self.aliases.get(name, name): value for name, value in reversed(list(data.items()))}
        values.pop("csrfmiddlewaretoken", None)
        unknown = {name: ["Unknown field."] for name in values if name not in self.fields}
        try:
            cleaned = super().to_internal_value(values)
        except serializers.ValidationError as fault:
            raise serializers.ValidationError({**unknown, **fault.detail}) from fault  # type: ignore[dict-item]
        if unknown:
            raise serializers.ValidationError(unknown)
        return cleaned
