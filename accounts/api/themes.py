"""Which theme somebody wants: ``…/themes/user/{user_id}/preference``, on both surfaces."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import themes
from accounts.api.base import AccountView, IsAccount
from accounts.authentication import principal
from core.envelope import Enveloped, answer
from core.serializers import StrictSerializer, Text
from settings_app.api.themes import NAMED, named_json
from settings_app.themes.models import Theme

PREFERENCE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "user_id": {"type": "string"},
        "theme_id": {"type": ["string", "null"], "description": "The account's own choice."},
        "theme": {**NAMED, "type": ["object", "null"], "description": "What holds for the account."},
    },
    "required": ["user_id", "theme_id", "theme"],
}


class PreferenceSerializer(StrictSerializer):
    theme_id = Text(max_length=64, allow_null=True, help_text="Null is the theme of the site again.")


class PreferenceView(AccountView):
    """The theme that an account wants: for itself and for admins."""

    serializer_class = PreferenceSerializer
    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: PREFERENCE})
    def get(self, request: Request, user_id: str) -> Response:
        found = themes.preference(principal(request), user_id)
        return self.shown(user_id, found, "Theme preference retrieved successfully")

    @extend_schema(responses={200: PREFERENCE})
    def post(self, request: Request, user_id: str) -> Response:
        found = themes.prefer(principal(request), user_id, self.cleaned(request)["theme_id"])
        return self.shown(user_id, found, "Theme preference updated successfully")

    def shown(self, user_id: str, found: tuple[Theme | None, Theme | None], message: str) -> Response:
        return Response(_preference_json(user_id, *found))


class EnvelopedPreferenceView(Enveloped, PreferenceView):
    def shown(self, user_id: str, found: tuple[Theme | None, Theme | None], message: str) -> Response:
        return answer(_preference_json(user_id, *found), message)


def _preference_json(user_id: str, chosen: Theme | None, holds: Theme | None) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "theme_id": str(chosen.pk) if chosen else None,
        "theme": named_json(holds) if holds else None,
    }
