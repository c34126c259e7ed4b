"""Settings, for admins: ``/api/v1/settings`` with JSON values, and ``/api/cms/settings`` with texts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from core import clock
from core.envelope import AdminOnly, Enveloped, answer
from core.errors import NotFound, ValidationFailed
from core.permissions import IsAdmin, caller
from core.views import CheckedView
from settings_app import registry, services, values
from settings_app.api.serializers import SettingSerializer, ValueSerializer
from settings_app.values import Entry

_TEXT = {"type": "string"}
_ENTRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "key"), _TEXT),
        "value": {},
        **dict.fromkeys(("category", "description"), _TEXT),
        "type": {"type": "string", "enum": list(registry.TYPES)},
        "secret": {"type": "boolean", "description": "Only with secrets, whose value is not shown."},
        "is_set": {"type": "boolean", "description": "Only with secrets: whether there is a value."},
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
        "updated_by": {"type": ["string", "null"]},
    },
    "required": ["id", "key", "value", "category", "description", "type", "updated_at", "updated_by"],
}
_ENTRIES: dict[str, Any] = {"type": "array", "items": _ENTRY}
_VALUES: dict[str, Any] = {"type": "object", "additionalProperties": {}, "description": "Values by their keys."}
_DELETED: dict[str, Any] = {
    "type": "object",
    "properties": {"deleted": {"type": "boolean", "const": True}},
    "required": ["deleted"],
}


_ALIKE = ("description", "category", "updated_at", "updated_by", "secret", "is_set")


class SettingsView(CheckedView, GenericAPIView[Any]):
    """All settings, declared ones with their defaults too; POST sets one, whether it was there or not."""

    serializer_class = SettingSerializer
    permission_classes = (IsAdmin,)

    @extend_schema("settings_list", request=None, responses={200: _ENTRIES})
    def get(self, request: Request) -> Response:
        return Response([entry_json(entry) for entry in values.entries()])

    @extend_schema(responses={200: _ENTRY})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer_class()(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = dict(serializer.validated_data)
        services.require_right(caller(request), [given["key"]])
        return Response(entry_json(services.put(given.pop("key"), given.pop("value"), by=caller(request).id, **given)))

    @extend_schema("settings_update", request={"application/json": _VALUES}, responses={200: _ENTRIES})
    def patch(self, request: Request) -> Response:
        """Set several, by their keys: all of them, or none where one can't be."""
        if not isinstance(request.data, dict):
            raise ValidationFailed("Send an object of keys and values.")
        changes = {str(key): value for key, value in request.data.items() if key != "csrfmiddlewaretoken"}
        services.require_right(caller(request), changes)
        return Response([entry_json(entry) for entry in services.put_several(changes, by=caller(request).id)])


class SettingView(CheckedView, GenericAPIView[Any]):
    """The settings of a category; DELETE of a key sets it back to its default, or forgets it."""

    serializer_class = SettingSerializer
    permission_classes = (IsAdmin,)

    @extend_schema("settings_category_list", request=None, responses={200: _ENTRIES})
    def get(self, request: Request, name: str) -> Response:
        return Response([entry_json(entry) for entry in values.entries(name)])

    @extend_schema(request=None, responses={200: _DELETED})
    def delete(self, request: Request, name: str) -> Response:
        services.require_right(caller(request), [name])
        services.remove(name, by=caller(request).id)
        return Response({"deleted": True})


def entry_json(entry: Entry) -> dict[str, Any]:
    shown = {"secret": True, "is_set": entry.is_set} if entry.secret else {}
    return {
        "id": entry.id,
        "key": entry.key,
        "value": (services.MASK if entry.is_set else None) if entry.secret else entry.value,
        "category": entry.category,
        "description": entry.description,
        "type": entry.type,
        "updated_at": clock.isoformat(entry.updated_at) if entry.updated_at else None,
        "updated_by": entry.updated_by or None,
        **shown,
    }


class EnvelopedView(Enveloped, GenericAPIView[Any]):
    serializer_class = ValueSerializer
    permission_classes = (AdminOnly,)


class EnvelopedSettingsView(EnvelopedView):
    """All settings, or those of a category."""

    def get(self, request: Request, category: str | None = None) -> Response:
        shown = [enveloped_json(entry) for entry in values.entries(category)]
        return answer(shown, f"{'CMS' if category is None else category[:50]} settings retrieved successfully")


class EnvelopedSettingView(EnvelopedView):
    """One setting; PUT sets it, whether it was there or not."""

    def get(self, request: Request, key: str) -> Response:
        return answer(enveloped_json(values.find(key)), "Setting retrieved successfully")

    def put(self, request: Request, key: str) -> Response:
        serializer = self.get_serializer_class()(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.require_right(caller(request), [key])
        given = dict(serializer.validated_data)
        asked = given.pop("type", None)
        type_ = services.type_for(key, asked)
        value = services.read(given.pop("value"), type_)
        entry = services.put(key, value, by=caller(request).id, type=asked or type_, **given)
        return answer(enveloped_json(entry), "Setting updated successfully")


class PublicSettingView(Enveloped):
    """What anybody may know, by its key with dashes."""

    authentication_classes = ()

    def get(self, request: Request, name: str) -> Response:
        setting = registry.known.get(name.replace("-", "_"))
        if setting is None or not setting.public or "_" in name:
            raise NotFound(values.NOT_FOUND)
        shown = enveloped_json(values.find(setting.key))
        del shown["updated_by"]
        words = setting.key.replace("_", " ").capitalize() + (" setting" if setting.type == "boolean" else "")
        return answer(shown, f"{words} retrieved successfully")


def enveloped_json(entry: Entry) -> dict[str, Any]:
    found = entry_json(entry)
    return {
        "id": found["id"],
        "setting_key": found["key"],
        "setting_value": services.text(found["value"] or "") if entry.secret else services.text(entry.value),
        "setting_type": found["type"],
        **{name: found[name] for name in _ALIKE if name in found},
    }
