"""What the settings endpoints take."""

from __future__ import annotations

from rest_framework import serializers

from core.serializers import Flag, StrictSerializer, Text
from settings_app.registry import TYPES

MAX_DESCRIPTION = 1000
VALUE_NEEDED = "Setting value is required"


class SettingSerializer(StrictSerializer):
    key = Text(max_length=100)
    value = serializers.JSONField(
        allow_null=True, write_only=True, help_text="Any JSON; a declared key takes what it is declared for."
    )
    category = Text(required=False, max_length=50)
    description = Text(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
    secret = Flag(required=False, help_text="Never show the value, a text, again; until the setting is deleted.")


class ValueSerializer(StrictSerializer):
    """A value as text or as JSON, and its type."""

    value = serializers.JSONField(error_messages=dict.fromkeys(("required", "null"), VALUE_NEEDED))
    type = serializers.ChoiceField(choices=tuple(TYPES), required=False)
    category = Text(required=False, max_length=50)
    description = Text(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
