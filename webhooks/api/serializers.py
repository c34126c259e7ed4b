"""What the endpoints of webhooks take."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from core.serializers import Flag, Secret, StrictSerializer, Text
from webhooks.models import EVENTS, MAX_RETRIES, Delivery
from webhooks.outgoing import MAX_CHARS
from webhooks.payload import TEST

MAX_SECRET = 200
DEFAULT_RETRIES = 3
_RETRIES = f"How often it is tried again where an attempt fails: 0 to {MAX_RETRIES}."
_SECRET = "What deliveries are signed with: 1 to 200 printable characters. No answer has it again."  # noqa: S105


def _printable(secret: str) -> None:
    if not secret.isprintable():
        raise serializers.ValidationError("Use printable characters only.")


class _Url(Text):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_CHARS, help_text="http:// or https://, where events are sent to.", **kwargs)


class _Events(serializers.MultipleChoiceField):
    """Which changes to tell of; each once, in the order given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=tuple(EVENTS), allow_empty=False, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        return super().to_internal_value(data)  # type: ignore[arg-type]


class _Retries(serializers.IntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=MAX_RETRIES, help_text=_RETRIES, **kwargs)


class _Secret(Secret):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            allow_null=True,
            trim_whitespace=False,
            max_length=MAX_SECRET,
            validators=[_printable],
            help_text=_SECRET,
            **kwargs,
        )


class _WithEvents(StrictSerializer):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, QueryDict):  # a form has a value for each
            several = {"events": data.getlist("events")} if "events" in data else {}
            data = {**data.dict(), **several}
        return super().to_internal_value(data)


class NewWebhookSerializer(_WithEvents):
    url = _Url()
    collection_name = Text(max_length=100, help_text="Whose records it is about: a collection by name or id.")
    events = _Events()
    secret = _Secret()
    generate_secret = Flag(default=False, help_text="Make a secret, which the answer alone shows.")
    retry_count = _Retries(default=DEFAULT_RETRIES)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["generate_secret"] and given.get("secret") is not None:
            raise serializers.ValidationError({"generate_secret": "Give a secret, or have one made."})
        return given


class WebhookSerializer(_WithEvents):
    """What of a webhook can be changed; what is left out stays."""

    url = _Url(required=False)
    events = _Events(required=False)
    active = Flag(required=False)
    secret = _Secret()
    retry_count = _Retries(required=False)


class WebhooksQuerySerializer(StrictSerializer):
    collection_name = Text(required=False, max_length=100, help_text="Those of this collection, by name or id.")
    active = Flag(required=False)


class DeliveriesQuerySerializer(StrictSerializer):
    status = serializers.ChoiceField(choices=Delivery.Status.values, required=False)
    event = serializers.ChoiceField(choices=(*EVENTS, TEST), required=False)
    since = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="Those that were made at this moment or later."
    )


class ReplaySerializer(StrictSerializer):
    since = serializers.DateTimeField(default_timezone=UTC, help_text="Send again what happened from then on.")
