"""``/auth/api-keys``: the keys by which programs act for the account. Only a person who is signed in manages them."""

from __future__ import annotations

from datetime import UTC
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys, key_uses
from accounts.api import documents
from accounts.api.base import AccountView, IsAccount
from accounts.api.serializers import NothingSerializer
from accounts.authentication import principal
from accounts.models import ApiKey, User
from core import clock
from core.errors import Forbidden
from core.serializers import StrictSerializer, Text

MAX_COLLECTIONS = 100
MAX_RATE_LIMIT = 1_000_000


class ApiKeySerializer(StrictSerializer):
    name = Text(max_length=100)
    access = serializers.ChoiceField(choices=ApiKey.Access.choices, default=ApiKey.Access.WRITE)
    collections = serializers.ListField(
        child=Text(max_length=100),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_COLLECTIONS,
        help_text="Names or ids of the collections that it is for; without them, all.",
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default_timezone=UTC)
    rate_limit = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_RATE_LIMIT,
        help_text="Requests a minute; without it as many as any client may send. Only admins set one.",
    )

    def validate_collections(self, given: list[str] | None) -> list[str]:
        known = api_keys.collections.ids(given or ())
        missing = [f"There is no collection {name!r}." for name in given or () if name not in known]
        if missing:
            raise serializers.ValidationError(missing)
        return list(dict.fromkeys(known.values()))

    def validate_expires_at(self, moment: Any) -> Any:
        if moment is not None and moment <= clock.now():
            raise serializers.ValidationError("Must be in the future.")
        return moment


class _KeyView(AccountView):
    permission_classes = (IsAccount,)
    staff_only = True

    def user(self, request: Request) -> User:
        return cast(User, self.account(request))


class ApiKeysView(_KeyView):
    """The API keys of the account. What a key is, only the answer that makes it tells."""

    serializer_class = ApiKeySerializer

    @extend_schema(request=None, responses={200: documents.API_KEYS})
    def get(self, request: Request) -> Response:
        keys = list(api_keys.of(self.user(request)))
        names = api_keys.collections.names([one for key in keys for one in key.collections])
        return Response({"items": [_json(key, names) for key in keys]})

    @extend_schema(responses={201: documents.NEW_API_KEY})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        if given.get("rate_limit") is not None and not principal(request).is_admin:
            raise Forbidden("Only admins give a key a limit of its own.")
        key, raw = api_keys.make(
            self.user(request),
            name=given["name"],
            access=given["access"],
            collection_ids=given.get("collections") or (),
            expires=given.get("expires_at"),
            rate_limit=given.get("rate_limit"),
        )
        shown = _json(key, api_keys.collections.names(key.collections))
        return Response({**shown, "key": raw}, status=status.HTTP_201_CREATED)


class ApiKeyView(_KeyView):
    """End one key."""

    serializer_class = NothingSerializer

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        api_keys.revoke(self.user(request), key_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _json(key: ApiKey, names: Any) -> dict[str, Any]:
    used = key_uses.uses.latest(key)
    return {
        "id": str(key.pk),
        "name": key.name,
        "prefix": key.prefix,
        "access": str(key.access),
        "collections": [names.get(one, one) for one in key.collections] or None,
        "created": clock.isoformat(key.created),
        "expires_at": clock.isoformat(key.expires) if key.expires else None,
        "rate_limit": key.rate_limit,
        "last_used_at": clock.isoformat(used) if used else None,
    }
