"""The shapes of requests and answers, for the browsable API's forms and OpenAPI.

They describe; they check nothing. What is valid is decided in one place, the
write path, and told in one shape.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from collections_app.records.validate import ADMIN_SETS
from collections_app.schema.definition import TYPES, CollectionDef, Field

_RULE_HELP = "An expression; null is everyone; left empty: admins only, or as it is."


def _nothing() -> Any:
    """The start of a list to be written as JSON."""
    return []


def _rule() -> serializers.CharField:
    return serializers.CharField(required=False, allow_null=True, help_text=_RULE_HELP)


class CollectionSerializer(serializers.Serializer[Any]):
    """A collection as admins send it."""

    name = serializers.CharField(help_text="Lowercase letters, digits and underscores.")
    type = serializers.ChoiceField(choices=TYPES, default="base")
    schema = serializers.JSONField(
        required=False,
        initial=_nothing,
        help_text='The fields: [{"name": "title", "type": "text", "validation": {"required": true}}]',
    )
    list_rule = _rule()
    view_rule = _rule()
    create_rule = _rule()
    update_rule = _rule()
    delete_rule = _rule()
    indexes = serializers.JSONField(
        required=False, initial=_nothing, help_text='[{"fields": ["price"], "unique": false}]'
    )
    options = serializers.JSONField(required=False, initial=dict, help_text='{"search": ["title"]}')
    view_query = serializers.CharField(
        required=False,
        style={"base_template": "textarea.html"},
        help_text="Of a view: a SELECT, which also says its fields.",
    )
    cache_ttl = serializers.IntegerField(required=False, help_text="Of a view: for how many seconds rows are kept.")


class PreviewSerializer(serializers.Serializer[Any]):
    """A query to be tried."""

    view_query = serializers.CharField(style={"base_template": "textarea.html"}, help_text="A SELECT.")
    limit = serializers.IntegerField(required=False, help_text="1 to 100 rows.")


class BulkDeleteSerializer(serializers.Serializer[Any]):
    record_ids = serializers.ListField(
        child=serializers.CharField(), help_text="1 to 100 ids, one on each line.", initial=list
    )


class BulkUpdateSerializer(BulkDeleteSerializer):
    # `data` is DRF's own name for another thing; here it is what the API calls it.
    data = serializers.JSONField(  # type: ignore[assignment]
        initial=dict, help_text='The fields to change: {"active": true}'
    )


class BatchSerializer(serializers.Serializer[Any]):
    requests = serializers.JSONField(
        initial=_nothing, help_text='[{"method": "POST", "collection": "posts", "data": {"title": "Hello"}}]'
    )


def record_serializer(collection: CollectionDef, *, admin: bool) -> type[serializers.Serializer[Any]]:
    """The form of a collection's records for admins or others; made once per definition."""
    key = ("serializer", admin)
    if key not in collection.memo:
        fields: dict[str, Any] = {
            field.name: _input(field) for field in collection.fields if may_set(field, admin=admin)
        }
        collection.memo[key] = type(f"Record_{collection.name}", (serializers.Serializer,), fields)
    return collection.memo[key]


def may_send(field: Field, *, admin: bool) -> bool:
    """Whether the documents show the field as one to send in JSON."""
    return field.type != "file" and may_set(field, admin=admin)


def may_set(field: Field, *, admin: bool) -> bool:
    """Whether the form shows the field as one to send."""
    if not field.writable:
        return False
    if field.system and field.name in ADMIN_SETS:
        return admin
    return admin or field.secret or not field.hidden


def _input(field: Field) -> serializers.Field[Any, Any, Any, Any]:
    kwargs: dict[str, Any] = {"required": field.required and field.default is None, "help_text": _help(field)}
    if field.default is not None:
        kwargs["initial"] = field.default
    if not field.required:
        kwargs["allow_null"] = True
    if field.type == "date":
        kwargs["style"] = {"input_type": "date"}
    return field.kind.serializer_field(field, **kwargs)


def _help(field: Field) -> str | None:
    hints = [field.help]
    if field.target:
        hints.append("Ids of records, one on each line." if field.multiple else "The id of a record.")
    if field.value == "datetime":
        hints.append("UTC.")
    if field.value == "geo":
        hints.append('{"lon": 13.4, "lat": 52.5}')
    return " ".join(hint for hint in hints if hint) or None
