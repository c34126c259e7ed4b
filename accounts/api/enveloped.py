"""Accounts on the surface of core/envelope.py: ``/api/register``, ``login``, ``profile``, ``admin/…``."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invites, sign_in, user_changes, users
from accounts.api import invites as invites_api
from accounts.api.base import AccountView, IsAccount, client_of, outcome_json
from accounts.api.serializers import LoginSerializer, NothingSerializer
from accounts.api.users import AdminView
from accounts.authentication import principal
from accounts.models import Role, User
from accounts.shapes import USERNAME, Password, ProfileSerializer, RegisterSerializer, UserUpdateSerializer, roles_of
from accounts.sign_in import SignedIn
from core import clock, ratelimit
from core.envelope import AdminOnly, Enveloped, answer
from core.errors import Forbidden, Unauthorized, ValidationFailed
from core.query_string import MAX_LENGTH, SLICE, slice_of
from core.serializers import Email, StrictSerializer, Text

BAD_LOGIN = "Invalid login credentials"
NAMES = {
    "username": "login",
    "identifier": "login",
    "invite_code": "inviteCode",
    "avatar_url": "profile_picture_url",
}


class View(Enveloped, AccountView):
    names = NAMES


class EnvelopedRegisterSerializer(RegisterSerializer):
    """Registration in this surface's words: a login is needed, of four characters or more."""

    username = Text()
    email = Email(error_messages={"invalid": "Email format is invalid"})

    def get_fields(self) -> dict[str, Any]:
        found = super().get_fields()
        return {"username": found.pop("username"), **found}  # in the order in which it is asked for, and refused

    def validate_username(self, username: str) -> str:
        if len(username) < 4:
            raise serializers.ValidationError("Username must be at least 4 characters")
        USERNAME(username)
        return username


class RegisterView(View):
    """Make an account; 422 for a taken name, a bad or a missing invite code, 403 where registration is closed."""

    crew = "hashing"
    rate_limit = ratelimit.REGISTER
    serializer_class = EnvelopedRegisterSerializer

    def post(self, request: Request) -> Response:
        user = users.USERS.create(principal(request), self.cleaned(request))
        data = {"id": user.account_id, "login": user.username, "email": user.email}
        return answer(data, "User registered successfully", 201)


class LoginView(View):
    """``data.token``, with the refresh token and the account beside it; or the challenge of a second factor."""

    open_in_maintenance = True
    crew = "hashing"
    rate_limit = ratelimit.LOGIN
    serializer_class = LoginSerializer
    authentication_classes = ()

    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        try:
            outcome = sign_in.log_in(self.realm, given["identifier"], given["password"], client_of(request))
        except (Unauthorized, Forbidden) as fault:
            raise Unauthorized(BAD_LOGIN) from fault
        data = outcome_json(outcome)
        if isinstance(outcome, SignedIn):
            return answer({"token": outcome.tokens.access, **data}, "Login successful")
        return answer(data, data["message"])


class OwnProfileSerializer(StrictSerializer):
    aliases = {"profile_picture_url": "avatar_url"}

    public_name = Text(required=False, allow_blank=True, max_length=150)
    bio = Text(required=False, allow_blank=True, max_length=5000)
    avatar_url = ProfileSerializer._declared_fields["avatar_url"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError({"public_name": ["This field is required."]})
        return attrs


class BaseSerializer(StrictSerializer):
    aliases = {"login": "username"}

    username = UserUpdateSerializer._declared_fields["username"]
    email = Email(required=False, error_messages={"invalid": "Email format is invalid"})


class AnyProfileSerializer(StrictSerializer):
    """One's own profile; an admin's body may name somebody else, and more than the profile."""

    profile = OwnProfileSerializer(required=False)
    user_id = Text(required=False, max_length=64)
    base = BaseSerializer(required=False)
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=Role.choices), required=False, min_length=1, max_length=10
    )
    current_password = Password(required=False, max_length=10_000)


class ProfileView(View):
    """The caller's own profile; by POST an admin changes anybody's."""

    crew = "hashing"
    serializer_class = OwnProfileSerializer
    permission_classes = (IsAccount,)

    def get(self, request: Request) -> Response:
        caller = principal(request)
        return answer(profile_json(user_changes.see(caller, caller.id)), "Profile retrieved successfully")

    def put(self, request: Request) -> Response:
        caller = principal(request)
        user, _ = user_changes.update(caller, caller.id, self.cleaned(request))
        return answer({"public_name": user.public_name, "bio": user.bio}, "Profile updated successfully")

    def post(self, request: Request) -> Response:
        caller = principal(request)
        body = request.data
        if isinstance(body, dict) and not caller.is_admin:
            body = {name: value for name, value in body.items() if name not in ("user_id", "base", "roles")}
        serializer = AnyProfileSerializer(data=body)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        user = user_changes.see(caller, given.get("user_id") or caller.id)
        changes = {**given.get("profile", {}), **given.get("base", {})}
        if "roles" in given:
            role = max(map(Role, given["roles"]), key=lambda role: role.rank)
            if role != user.role:
                changes["role"] = role
        if not {"profile", "base", "roles"} & set(given):
            raise ValidationFailed(fields={"profile": ["This field is required."]})
        if "current_password" in given:
            changes["current_password"] = given["current_password"]
        user, confirms = user_changes.update(caller, user.account_id, changes)
        note = f". {user_changes.CONFIRM_EMAIL}" if confirms else ""
        return answer(profile_json(user), f"User profile updated successfully{note}")


class AnyProfileView(View):
    """Somebody's profile, for admins."""

    serializer_class = NothingSerializer
    permission_classes = (AdminOnly,)

    def get(self, request: Request, user_id: str) -> Response:
        return answer(profile_json(user_changes.find(user_id)), "Profile retrieved successfully")


class UsersView(View):
    """All accounts, the newest first; a thousand at a time, ``total`` says of how many."""

    serializer_class = NothingSerializer
    permission_classes = (AdminOnly,)
    parameters = SLICE

    def get(self, request: Request) -> Response:
        rows = User.objects.order_by("-created", "pk")[slice_of(self.query, MAX_LENGTH)]
        shown = [
            {
                "id": user.account_id,
                "login": user.username,
                "email": user.email,
                "is_active": user.is_active,
                "created_at": clock.isoformat(user.created),
            }
            for user in rows
        ]
        return answer(shown, "Users retrieved successfully", total=User.objects.count())


class InvitesView(Enveloped, invites_api.InvitesView):
    """Invite codes; POST makes one."""

    permission_classes = (AdminOnly,)

    def get(self, request: Request) -> Response:
        return answer(self.listed(principal(request)), "Invites retrieved successfully")

    def post(self, request: Request) -> Response:
        return answer(self.made(request), "Invite created successfully", 201)


class InviteView(Enveloped, AdminView):
    """Delete an invite code that nobody has used."""

    permission_classes = (AdminOnly,)

    def delete(self, request: Request, invite_id: str) -> Response:
        invites.delete(invite_id)
        return answer({"deleted": True}, "Invite deleted successfully")


class RegistrationModeView(Enveloped):
    """Who may register now, for everybody to see."""

    authentication_classes = ()

    def get(self, request: Request) -> Response:
        return answer({"registration_mode": invites.mode()}, "Registration mode retrieved successfully")


def profile_json(user: User) -> dict[str, Any]:
    return {
        "user_id": user.account_id,
        "public_name": user.public_name,
        "profile_picture_url": user.avatar_url,
        "bio": user.bio,
        "created_at": clock.isoformat(user.created),
        "updated_at": clock.isoformat(user.updated),
        "roles": roles_of(user.role),
    }
