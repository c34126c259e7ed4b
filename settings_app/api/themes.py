"""Themes: bare under ``/api/v1/themes``, in envelopes under ``/api/themes``, ``/api/cms`` and ``/api/admin``.

Each view stands once. What differs on the second surface is in :class:`InEnvelope`: the body, the sentence
for who is no admin, and the cleaning of texts, from which style sheets are exempt: those are kept as sent or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from core import clock, drf, json
from core.elements import cleaned
from core.envelope import AdminOnly, Enveloped, answer
from core.errors import BadRequest
from core.permissions import IsAdmin, caller
from core.serializers import Flag, StrictSerializer, Text
from core.views import CheckedView
from settings_app.themes import config, keys, palette, selectors, services
from settings_app.themes.models import Theme

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_MOMENT = {"type": "string", "format": "date-time"}
_SETTINGS: dict[str, Any] = {"type": "object", "description": "By key; keys of front ends' own are among them."}
_WARNINGS: dict[str, Any] = {"type": "array", "items": _TEXT, "description": "Pairs of colours that are hard to read."}
NAMED: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(("id", "name", "description"), _TEXT),
    "required": ["id", "name", "description"],
}
THEME: dict[str, Any] = {
    "type": "object",
    "properties": {
        **NAMED["properties"],
        **dict.fromkeys(("is_active", "is_default"), _FLAG),
        "created_by": {"type": ["string", "null"]},
        **dict.fromkeys(("created_at", "updated_at"), _MOMENT),
    },
    "required": ["id", "name", "description", "is_active", "is_default", "created_by", "created_at", "updated_at"],
}
_WHOLE: dict[str, Any] = {
    **THEME,
    "properties": {**THEME["properties"], "settings": _SETTINGS, "warnings": _WARNINGS},
    "required": [*THEME["required"], "settings", "warnings"],
}
_ACTIVE: dict[str, Any] = {
    "type": "object",
    "properties": {"theme": NAMED, "settings": _SETTINGS},
    "required": ["theme", "settings"],
}
_DELETED: dict[str, Any] = {
    "type": "object",
    "properties": {"deleted": {"type": "boolean", "const": True}},
    "required": ["deleted"],
}
_CONFIG: dict[str, Any] = {
    "type": "object",
    "properties": {key.config_name: _TEXT for key in keys.DECLARED},
    "required": [key.config_name for key in keys.DECLARED],
}


class NothingSerializer(StrictSerializer):
    """No body."""


class Settings(serializers.JSONField):
    """Values by key: an object, or its text in a form."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        try:
            given = json.loads(data.encode(errors="surrogatepass")) if isinstance(data, str) else data
        except BadRequest:
            given = None
        if not isinstance(given, dict):
            raise serializers.ValidationError("Expected an object.")
        if len(given) > keys.MAX_KEYS:
            raise serializers.ValidationError(f"A theme has at most {keys.MAX_KEYS} settings.")
        return given


class ThemeChangeSerializer(StrictSerializer):
    name = Text(required=False, max_length=100)
    description = Text(required=False, allow_blank=True, max_length=1000)
    is_active = Flag(required=False)
    is_default = Flag(required=False)
    settings = Settings(required=False, help_text="Values by key; null takes a key away.")


class ThemeSerializer(ThemeChangeSerializer):
    name = Text(max_length=100)


class ValueSerializer(StrictSerializer):
    """One setting. What is missing or empty is told in the service's words."""

    key = Text(required=False, allow_blank=True, allow_null=True, max_length=100)
    value = serializers.JSONField(required=False, allow_null=True)
    type = serializers.ChoiceField(choices=keys.TYPES, required=False)


class ThemeIdSerializer(StrictSerializer):
    theme_id = Text(max_length=64)


class OptionalThemeIdSerializer(StrictSerializer):
    theme_id = Text(required=False, allow_null=True, max_length=64)


class ThemeView(CheckedView, GenericAPIView[Any]):
    """Everybody reads, admins change."""

    admin_only: ClassVar[type[IsAdmin]] = IsAdmin

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method in SAFE_METHODS else [self.admin_only()]

    def cleaned(self, request: Request) -> dict[str, Any]:
        serializer = self.get_serializer_class()(data=request.data)
        serializer.is_valid(raise_exception=True)
        return self.as_kept(dict(serializer.validated_data))

    def as_kept(self, given: dict[str, Any]) -> dict[str, Any]:
        return given

    def shown(self, data: Any, message: str, status: int = 200, **more: Any) -> Response:
        return Response({**data, **more} if more else data, status=status)

    def offers(self, method: str) -> bool:
        """For the page that browsers get (core.browsable)."""
        return caller(self.request).is_admin

    def whole(self, theme: Theme, message: str, status: int = 200) -> Response:
        """A theme after a change, with what is to be said about its colours."""
        settings = theme.values()
        data = {**theme_json(theme), "settings": settings}
        return self.shown(data, message, status, warnings=palette.warnings(settings))


class InEnvelope(Enveloped):
    """Mixed into one of these views: its answers in envelopes."""

    admin_only: ClassVar[type[IsAdmin]] = AdminOnly
    parser_classes = (drf.JSONParser, drf.FormParser, drf.MultiPartParser)

    def as_kept(self, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("key") == keys.CUSTOM_CSS:
            return given
        found: dict[str, Any] = cleaned(given)
        style = given["settings"].get(keys.CUSTOM_CSS) if "settings" in given else None
        if style is not None:
            found["settings"][keys.CUSTOM_CSS] = style
        return found

    def shown(self, data: Any, message: str, status: int = 200, **more: Any) -> Response:
        return answer(data, message, status, **more)


class ThemesView(ThemeView):
    """The themes to choose from, all of them for admins; POST makes one."""

    serializer_class = ThemeSerializer

    @extend_schema("themes_list", request=None, responses={200: {"type": "array", "items": THEME}})
    def get(self, request: Request) -> Response:
        found = selectors.visible(admin=caller(request).is_admin)
        return self.shown([theme_json(theme) for theme in found], "Themes retrieved successfully")

    @extend_schema(responses={201: _WHOLE})
    def post(self, request: Request) -> Response:
        theme = services.create(self.cleaned(request), by=caller(request).id)
        return self.whole(theme, "Theme created successfully", 201)


class OneThemeView(ThemeView):
    """One theme. PUT changes what is given; the theme of the site and the default can't be deleted."""

    serializer_class = ThemeChangeSerializer

    def stored(self) -> Mapping[str, Any] | None:
        """What its form begins with (core.browsable)."""
        theme = selectors.find(self.kwargs["theme_id"], admin=caller(self.request).is_admin)
        return {**theme_json(theme), "settings": theme.values()}

    @extend_schema(request=None, responses={200: THEME})
    def get(self, request: Request, theme_id: str) -> Response:
        theme = selectors.find(theme_id, admin=caller(request).is_admin)
        return self.shown(theme_json(theme), "Theme retrieved successfully")

    @extend_schema(responses={200: _WHOLE})
    def put(self, request: Request, theme_id: str) -> Response:
        return self.whole(services.update(theme_id, self.cleaned(request)), "Theme updated successfully")

    @extend_schema(responses={200: _WHOLE})
    def patch(self, request: Request, theme_id: str) -> Response:
        return self.put(request, theme_id)

    @extend_schema(request=None, responses={200: _DELETED})
    def delete(self, request: Request, theme_id: str) -> Response:
        services.delete(theme_id)
        return self.shown({"deleted": True}, "Theme deleted successfully")


class ThemeSettingsView(ThemeView):
    """The settings of a theme, by key; POST sets one."""

    serializer_class = ValueSerializer

    @extend_schema(request=None, responses={200: _SETTINGS})
    def get(self, request: Request, theme_id: str) -> Response:
        theme = selectors.find(theme_id, admin=caller(request).is_admin)
        return self.shown(theme.values(), "Theme settings retrieved successfully")

    @extend_schema(responses={200: _WHOLE})
    def post(self, request: Request, theme_id: str) -> Response:
        given = self.cleaned(request)
        theme = services.set_value(theme_id, given.get("key"), given.get("value"), given.get("type"))
        return self.whole(theme, "Theme setting saved successfully")


class ActivateView(ThemeView):
    """Make a theme the one of the site."""

    serializer_class = NothingSerializer

    @extend_schema(request=None, responses={200: THEME})
    def post(self, request: Request, theme_id: str) -> Response:
        self.cleaned(request)
        theme = services.activate(theme_id, by=caller(request).id)
        return self.shown(theme_json(theme), "Theme activated successfully")


class ActiveThemeView(ThemeView):
    """The theme of the site with its settings; PUT sets which it is."""

    serializer_class = ThemeIdSerializer

    def stored(self) -> Mapping[str, Any]:
        """What its form begins with (core.browsable)."""
        theme = selectors.current()
        return {"theme_id": str(theme.pk) if theme else ""}

    @extend_schema(request=None, responses={200: _ACTIVE})
    def get(self, request: Request) -> Response:
        theme = selectors.the_current()
        data = {"theme": named_json(theme), "settings": theme.values()}
        return self.shown(data, "Active theme retrieved successfully")

    @extend_schema(responses={200: NAMED})
    def put(self, request: Request) -> Response:
        theme = services.activate(self.cleaned(request)["theme_id"], by=caller(request).id)
        return self.shown(named_json(theme), "Active theme updated successfully")


class WriteConfigView(ThemeView):
    """Write ``theme-config.json`` from a theme, by default the one of the site."""

    serializer_class = OptionalThemeIdSerializer

    @extend_schema(responses={200: _CONFIG})
    def put(self, request: Request) -> Response:
        theme, content = config.write(self.cleaned(request).get("theme_id"))
        return self.shown(content, f'Theme "{theme.name}" config written successfully')


class EnvelopedThemesView(InEnvelope, ThemesView):
    pass


class EnvelopedOneThemeView(InEnvelope, OneThemeView):
    pass


class EnvelopedThemeSettingsView(InEnvelope, ThemeSettingsView):
    pass


class EnvelopedActivateView(InEnvelope, ActivateView):
    pass


class EnvelopedActiveThemeView(InEnvelope, ActiveThemeView):
    http_method_names = ("get", "head", "options")


class SiteThemeView(InEnvelope, ActiveThemeView):
    """Which theme is the one of the site, without its settings; PUT sets it."""

    def get(self, request: Request) -> Response:
        return self.shown(named_json(selectors.the_current()), "Active theme retrieved successfully")


class EnvelopedWriteConfigView(InEnvelope, WriteConfigView):
    pass


def named_json(theme: Theme) -> dict[str, Any]:
    return {"id": str(theme.pk), "name": theme.name, "description": theme.description}


def theme_json(theme: Theme) -> dict[str, Any]:
    return {
        **named_json(theme),
        "is_active": theme.is_active,
        "is_default": theme.is_default,
        "created_by": theme.created_by or None,
        "created_at": clock.isoformat(theme.created_at),
        "updated_at": clock.isoformat(theme.updated_at),
    }
