"""Settings, for admins: ``/api/v1/settings`` with JSON values, and ``/api/cms/settings`` with texts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from core import clock
from core.envelope import AdminOnly, Enveloped, answer
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
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
        "updated_by": {"type": ["string", "null"]},
    },
    "required": ["id", "key", "value", "category", "description", "type", "updated_at", "updated_by"],
}
_ENTRIES: dict[str, Any] = {"type": "array", "items": _ENTRY}
_DELETED: dict[str, Any] = {
    "type": "object",
    "properties": {"deleted": {"type": "boolean", "const": True}},
    "required": ["deleted"],
}


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
        return Response(entry_json(services.put(given.pop("key"), given.pop("value"), by=caller(request).id, **given)))


class SettingView(CheckedView, GenericAPIView[Any]):
    """The settings of a category; DELETE of a key sets it back to its default, or forgets it."""

    serializer_class = SettingSerializer
    permission_classes = (IsAdmin,)

    @extend_schema("settings_category_list", request=None, responses={200: _ENTRIES})
    def get(self, request: Request, name: str) -> Response:
        return Response([entry_json(entry) for entry in values.entries(name)])

    @extend_schema(request=None, responses={200: _DELETED})
    def delete(self, request: Request, name: str) -> Response:
        services.remove(name)
        return Response({"deleted": True})


def entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "key": entry.key,
        "value": entry.value,
        "category": entry.category,
        "description": entry.description,
        "type": entry.type,
        "updated_at": clock.isoformat(entry.updated_at) if entry.updated_at else None,
        "updated_by": entry.updated_by or None,
    }


class EnvelopedView(Enveloped, GenericAPIView[Any]):
    serializer_class = ValueSerializer
    permission_classes = (AdminOnly,)


class EnvelopedSettingsView(EnvelopedView):
    """All settings, or those of a category."""

    def get(self, request: Request, category: str | None = None) -> Response:
        shown = [enveloped_json(entry) for entry in values.entries(category)]
        return answer(shown, "Settings retrieved successfully")


class EnvelopedSettingView(EnvelopedView):
    """One setting; PUT sets it, whether it was there or not."""

    def get(self, request: Request, key: str) -> Response:
        return answer(enveloped_json(values.find(key)), "Setting retrieved successfully")

    def put(self, request: Request, key: str) -> Response:
        serializer = self.get_serializer_class()(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = dict(serializer.validated_data)
        asked = given.pop("type", None)
        type_ = services.type_for(key, asked)
        value = services.read(given.pop("value"), type_)
        entry = services.put(key, value, by=caller(request).id, type=asked or type_, **given)
        return answer(enveloped_json(entry), "Setting updated successfully")


def enveloped_json(entry: Entry) -> dict[str, Any]:
    found = entry_json(entry)
    return {
        "id": found["id"],
        "setting_key": found["key"],
        "setting_value": services.text(entry.value),
        "setting_type": found["type"],
        **{name: found[name] for name in ("description", "category", "updated_at", "updated_by")},
    }
