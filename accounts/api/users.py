"""Accounts of staff and members, by themselves and by admins: ``/api/v1/users/``."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import user_changes
from accounts.api import documents
from accounts.api.base import AccountView, IsAccount
from accounts.api.serializers import NothingSerializer
from accounts.authentication import principal
from accounts.models import Role, User
from accounts.scopes import Keys
from accounts.shapes import UserUpdateSerializer, user_json
from core.errors import ValidationFailed
from core.permissions import IsAdmin
from core.query_string import DEFAULT_LENGTH, MAX_LENGTH, SLICE, slice_of
from core.serializers import StrictSerializer

SLICE_PARAMETERS = [
    OpenApiParameter("skip", int, description="How many to leave out."),
    OpenApiParameter("limit", int, description=f"At most {MAX_LENGTH}; {DEFAULT_LENGTH} unless given."),
    OpenApiParameter("page", int, description="Instead of skip: pages from 1 …"),
    OpenApiParameter("per_page", int, description="… of this length, instead of limit."),
]


class NewRoleSerializer(StrictSerializer):
    aliases = {"role": "new_role"}

    new_role = serializers.ChoiceField(choices=Role.choices)


class AdminView(AccountView):
    """For admins."""

    serializer_class: type[StrictSerializer] = NothingSerializer
    permission_classes = (IsAdmin,)


class UsersView(AdminView):
    """All accounts, the newest first."""

    api_keys = Keys.WHOLE
    parameters = SLICE

    @extend_schema("users_list", request=None, parameters=SLICE_PARAMETERS, responses={200: documents.USERS})
    def get(self, request: Request) -> Response:
        return Response(self.part(User.objects.all()))

    def part(self, found: Any) -> list[dict[str, Any]]:
        return [user_json(user) for user in found.order_by("-created", "pk")[slice_of(self.query)]]


class UsersOfRoleView(UsersView):
    """The accounts of one role, the newest first."""

    @extend_schema("users_role_list", request=None, parameters=SLICE_PARAMETERS, responses={200: documents.USERS})
    def get(self, request: Request, role: str = "") -> Response:
        if role not in Role.values:
            raise ValidationFailed(fields={"role": [f"Must be one of {', '.join(Role.values)}."]})
        return Response(self.part(User.objects.filter(role=role)))


class UserView(AccountView):
    """One account: for itself and for admins; ``user_id`` is the caller's own where the path has none."""

    serializer_class = UserUpdateSerializer
    permission_classes = (IsAccount,)
    crew = "hashing"

    @extend_schema(request=None, responses={200: documents.USER})
    def get(self, request: Request, user_id: str = "") -> Response:
        caller = principal(request)
        return Response(user_json(user_changes.see(caller, user_id or caller.id)))

    @extend_schema(responses={200: documents.USER})
    def put(self, request: Request, user_id: str = "") -> Response:
        caller = principal(request)
        user = user_changes.see(caller, user_id or caller.id)
        changes = self.cleaned(request, account=user)
        user, confirms = user_changes.update(caller, user.account_id, changes)
        note = {"message": user_changes.CONFIRM_EMAIL} if confirms else {}
        return Response({**user_json(user), **note})

    @extend_schema(responses={200: documents.USER})
    def patch(self, request: Request, user_id: str = "") -> Response:
        return self.put(request, user_id)


class SeeUserView(UserView):
    """One account, for itself and for admins."""

    http_method_names = ("get", "head", "options")


class UpdateUserView(UserView):
    """Change one account: one's own, or anybody's as an admin."""

    http_method_names = ("put", "patch", "options")


class UserRoleView(AccountView):
    """Give somebody a role, as a superadmin."""

    serializer_class = NewRoleSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.USER})
    def put(self, request: Request, user_id: str) -> Response:
        user_changes.check_superadmin(principal(request))
        role = self.cleaned(request)["new_role"]
        return Response(user_json(user_changes.set_role(principal(request), user_id, role)))

    @extend_schema(responses={200: documents.USER})
    def patch(self, request: Request, user_id: str) -> Response:
        return self.put(request, user_id)


class DeleteUserView(AdminView):
    """Delete somebody else's account."""

    @extend_schema(request=None, responses={200: documents.MESSAGE})
    def delete(self, request: Request, user_id: str) -> Response:
        user_changes.delete(principal(request), user_id)
        return Response({"message": "User deleted successfully"})
