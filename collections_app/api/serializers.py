"""The shapes of requests and answers, for the browsable API's forms and OpenAPI.

They describe; they check nothing. What is valid is decided in one place, the
write path, and told in one shape.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from collections_app.schema.definition import TYPES, CollectionDef, Field


class CollectionSerializer(serializers.Serializer[Any]):
    """A collection as admins send it."""

    name = serializers.CharField(help_text="Lowercase letters, digits and underscores.")
    type = serializers.ChoiceField(choices=[(name, name) for name in TYPES], default="base")
    schema = serializers.JSONField(default=list, help_text='[{"name": "title", "type": "text"}]')
    list_rule = serializers.CharField(required=False, allow_null=True)
    view_rule = serializers.CharField(required=False, allow_null=True)
    create_rule = serializers.CharField(required=False, allow_null=True)
    update_rule = serializers.CharField(required=False, allow_null=True)
    delete_rule = serializers.CharField(required=False, allow_null=True)
    indexes = serializers.JSONField(required=False, help_text='[{"fields": ["price"], "unique": false}]')
    options = serializers.JSONField(required=False, help_text='{"search": ["title"]}')


class BulkDeleteSerializer(serializers.Serializer[Any]):
    record_ids = serializers.ListField(child=serializers.CharField(), min_length=1, max_length=100)


class BulkUpdateSerializer(BulkDeleteSerializer):
    data = serializers.JSONField()


class BatchSerializer(serializers.Serializer[Any]):
    requests = serializers.JSONField(
        help_text='[{"method": "POST", "collection": "posts", "data": {"title": "Hello"}}]'
    )


def record_serializer(collection: CollectionDef) -> type[serializers.Serializer[Any]]:
    """The form of a collection's records; made once per definition."""
    if "serializer" not in collection.memo:
        body: dict[str, Any] = {field.name: _input(field) for field in collection.fields if _shown(field)}
        collection.memo["serializer"] = type(
            f"Record_{collection.name}", (serializers.Serializer,), {**body, "__doc__": f"A record of {collection.name}."}
        )
    return collection.memo["serializer"]  # type: ignore[no-any-return]


def _shown(field: Field) -> bool:
    return field.writable and not field.hidden and field.type != "file"


def _input(field: Field) -> serializers.Field[Any, Any, Any, Any]:
    kwargs: dict[str, Any] = {"required": field.required and field.default is None, "help_text": field.help or None}
    if field.default is not None:
        kwargs["initial"] = field.default
    if not field.required:
        kwargs["allow_null"] = True
    return field.kind.serializer_field(field, **kwargs)
