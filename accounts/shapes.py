"""An account as clients write and see it. Unknown fields are errors."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any

from django.core.validators import RegexValidator, URLValidator
from rest_framework import serializers

from accounts import passwords
from accounts.models import Role, User
from core import clock
from core.serializers import Email, Flag, Secret, StrictSerializer, Text

USERNAME = RegexValidator(
    re.compile(r"\A[A-Za-z0-9_.+-]{3,50}\Z"),
    "A username has 3 to 50 letters, digits, dots, dashes, underscores or plus signs.",
)
PHONE = RegexValidator(re.compile(r"\A\+?[0-9 ().\-/]{3,20}\Z"), "Enter a valid phone number.")
LANGUAGE = RegexValidator(re.compile(r"\A[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,6})?\Z"), "Enter a language code.")


class Password(Secret):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, style={"input_type": "password"}, **kwargs)


_WEB_ADDRESS = URLValidator(["http", "https"])
_OWN_PATH = re.compile(r"/(?![/\\])[^\s\\<>\"']*")


def _picture(address: str) -> None:
    """A picture on the web, or by its path on this site."""
    if not _OWN_PATH.fullmatch(address):
        _WEB_ADDRESS(address)


class ProfileSerializer(StrictSerializer):
    """What an account says about itself."""

    aliases = {"login": "username", "profile_picture_url": "avatar_url"}

    username = Text(required=False, validators=[USERNAME])
    name = Text(required=False, allow_blank=True, max_length=150)
    first_name = Text(required=False, allow_blank=True, max_length=100)
    last_name = Text(required=False, allow_blank=True, max_length=100)
    phone_number = Text(required=False, allow_blank=True, validators=[PHONE])
    avatar_url = Text(required=False, allow_blank=True, max_length=500, validators=[_picture])
    bio = Text(required=False, allow_blank=True, max_length=5000)
    public_name = Text(required=False, allow_blank=True, max_length=150)
    timezone = Text(required=False, max_length=64)
    language = Text(required=False, validators=[LANGUAGE])

    def validate_timezone(self, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as fault:
            raise serializers.ValidationError("Enter a time zone such as Europe/Berlin.") from fault
        return name


class _NewCredentials(StrictSerializer):
    email = Email()
    password = Password()
    password_confirm = Password(required=False)


class RegisterSerializer(_NewCredentials, ProfileSerializer):
    aliases = {**ProfileSerializer.aliases, "inviteCode": "invite_code"}

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    invite_code = Secret(
        required=False,
        allow_blank=True,
        max_length=64,
        help_text="Needed where registration is by invitation.",
    )
    setup_token = Secret(
        required=False, allow_blank=True, max_length=64, help_text="Only for the first account in production."
    )

    def validate_password(self, password: str) -> str:
        given = self.initial_data
        about = {name: given.get(name) for name in ("username", "email", "first_name", "last_name")}
        return passwords.acceptable(
            password, User(**{name: value for name, value in about.items() if isinstance(value, str)})
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        confirmed = attrs.pop("password_confirm", attrs["password"])
        if confirmed != attrs["password"]:
            raise serializers.ValidationError({"password_confirm": ["The two passwords differ."]})
        return attrs


class UserUpdateSerializer(ProfileSerializer):
    """What may change of an account; who may change it is the service's to say."""

    aliases = {**ProfileSerializer.aliases, "old_password": "current_password", "email_verified": "verified"}

    email = Email(required=False)
    password = Password(required=False)
    current_password = Password(
        required=False,
        max_length=10_000,
        help_text="With a new password or e-mail address of one's own account.",
    )
    role = serializers.ChoiceField(choices=Role.choices, required=False, help_text="By superadmins.")
    verified = Flag(required=False, help_text="By admins.")
    is_active = Flag(required=False, help_text="By admins.")

    def validate_password(self, password: str) -> str:
        return passwords.acceptable(password, self.context.get("account"))


def roles_of(role: str) -> list[str]:
    """A role and all that it includes, the least first."""
    return [str(lower) for lower in Role if lower.rank <= Role(role).rank]


def user_json(user: User) -> dict[str, Any]:
    """An account as every surface's superset: each field also under the other documents' names."""
    created, updated = clock.isoformat(user.created), clock.isoformat(user.updated)
    return {
        "id": str(user.id),
        "email": user.email,
        "username": user.username,
        "login": user.username,
        "name": user.name,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "phone_number": user.phone_number,
        "phone_verified": user.phone_verified,
        "avatar_url": user.avatar_url,
        "profile_picture_url": user.avatar_url,
        "bio": user.bio,
        "public_name": user.public_name,
        "timezone": user.timezone,
        "language": user.language,
        "role": str(user.role),
        "roles": roles_of(user.role),
        "verified": user.verified,
        "email_verified": user.verified,
        "is_active": user.is_active,
        "two_fa_enabled": user.two_fa_enabled,
        "last_login_at": clock.isoformat(user.last_login_at) if user.last_login_at else None,
        "created": created,
        "created_at": created,
        "updated": updated,
        "updated_at": updated,
    }
