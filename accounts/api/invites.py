"""Invitations, for admins: ``/api/v1/invites``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invites, users
from accounts.api import documents
from accounts.api.users import SLICE_PARAMETERS, AdminView
from accounts.authentication import principal
from accounts.models import Invite, Role, User
from accounts.principals import Principal
from core import clock
from core.query_string import SLICE, slice_of
from core.serializers import Email, StrictSerializer


class InviteSerializer(StrictSerializer):
    email = Email(required=False, allow_blank=True, help_text="Who alone may use it, and gets it by mail.")
    role = serializers.ChoiceField(choices=Role.choices, required=False, help_text="What the account becomes.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= clock.now():
            raise serializers.ValidationError("This moment is over.")
        return moment


class InvitesView(AdminView):
    """Invitations, the newest first; POST makes one."""

    serializer_class = InviteSerializer

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset() if self.request.method == "POST" else SLICE

    @extend_schema("invites_list", request=None, parameters=SLICE_PARAMETERS, responses={200: documents.INVITES})
    def get(self, request: Request) -> Response:
        return Response(self.listed(principal(request)))

    @extend_schema(responses={201: documents.INVITE})
    def post(self, request: Request) -> Response:
        return Response(self.made(request), status=status.HTTP_201_CREATED)

    def listed(self, caller: Principal) -> list[dict[str, Any]]:
        rows = Invite.objects.select_related("created_by", "used_by").order_by("-created_at", "pk")
        return [invite_json(caller, row) for row in rows[slice_of(self.query)]]

    def made(self, request: Request) -> dict[str, Any]:
        caller = principal(request)
        given = self.cleaned(request)
        invite = invites.create(
            caller,
            users.USERS.get(caller.id),
            email=given.get("email", ""),
            role=given.get("role", Role.USER),
            expires_at=given.get("expires_at"),
        )
        return invite_json(caller, invite)


class InviteView(AdminView):
    """Take an invitation back that nobody has used."""

    @extend_schema(request=None, responses={200: documents.DELETED})
    def delete(self, request: Request, invite_id: str) -> Response:
        invites.delete(invite_id)
        return Response({"deleted": True})


def invite_json(caller: Principal, invite: Invite) -> dict[str, Any]:
    """An invitation with its code, where it can still be used and the caller could have made it."""

    def who(user: User | None, prefix: str) -> dict[str, Any]:
        names = {"login": user.username, "email": user.email} if user else {"login": None, "email": None}
        return {f"{prefix}_{name}": value for name, value in names.items()}

    may_know = invites.may_give(caller, invite.role)
    return {
        "id": str(invite.pk),
        "code": invites.known_code(invite) if may_know else None,
        "email": invite.email or None,
        "role": str(invite.role),
        "created_by": str(invite.created_by_id) if invite.created_by_id else None,
        "created_at": clock.isoformat(invite.created_at),
        "expires_at": clock.isoformat(invite.expires_at) if invite.expires_at else None,
        "used_by": str(invite.used_by_id) if invite.used_by_id else None,
        "used_at": clock.isoformat(invite.used_at) if invite.used_at else None,
        **who(invite.created_by, "creator"),
        **who(invite.used_by, "user"),
    }
