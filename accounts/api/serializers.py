"""What the account endpoints take. Unknown fields are errors."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from accounts.shapes import Password
from core.serializers import Email, Secret, StrictSerializer, Text

MAX_TOKEN = 200
RECOVERY = re.compile(r"[A-Za-z]{5}-?[A-Za-z]{5}")


class LoginSerializer(StrictSerializer):
    """JSON or form; the OAuth2 password form's own fields are allowed and mean nothing here."""

    aliases = {
        "username": "identifier",
        "email": "identifier",
        "login": "identifier",
        "username_or_email": "identifier",
    }

    identifier = Text(
        max_length=10_000, help_text="E-mail or username; also as email, username, login, username_or_email."
    )
    password = Password(max_length=10_000)
    grant_type = Text(required=False, allow_blank=True)
    scope = Text(required=False, allow_blank=True)
    client_id = Text(required=False, allow_blank=True)
    client_secret = Secret(required=False, allow_blank=True)


class RefreshSerializer(StrictSerializer):
    aliases = {"refresh": "refresh_token"}

    refresh_token = Secret(max_length=10_000)


class LogoutSerializer(StrictSerializer):
    aliases = {"refresh": "refresh_token"}

    refresh_token = Secret(required=False, allow_blank=True, max_length=10_000)


class NewPasswordSerializer(StrictSerializer):
    """Where a new password is set; ``check`` in the context says what is wrong with one."""

    new_password = Password(max_length=10_000)
    password_confirm = Password(required=False, max_length=10_000)

    def validate_new_password(self, password: str) -> str:
        check = self.context.get("check")
        return password if check is None else str(check(password))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.pop("password_confirm", attrs["new_password"]) != attrs["new_password"]:
            raise serializers.ValidationError({"password_confirm": ["The two passwords differ."]})
        return attrs


class ChangePasswordSerializer(NewPasswordSerializer):
    aliases = {"old_password": "current_password", "confirm_password": "password_confirm"}

    current_password = Password(max_length=10_000)


class ResetPasswordSerializer(NewPasswordSerializer):
    """Some clients send the address along; the token alone says whose it is."""

    aliases = {"password": "new_password", "confirm_password": "password_confirm"}

    token = Secret(max_length=MAX_TOKEN)
    email = Text(required=False, allow_blank=True, max_length=254)


class TokenSerializer(StrictSerializer):
    token = Secret(max_length=MAX_TOKEN)
    email = Text(required=False, allow_blank=True, max_length=254)


class RequestSerializer(StrictSerializer):
    """An address, and an auth collection where it is not one of ``users``."""

    email = Email()
    collection = Text(required=False, allow_blank=True, max_length=100)


class ResendSerializer(StrictSerializer):
    """Who is signed in needs to say nothing."""

    email = Email(required=False)
    collection = Text(required=False, allow_blank=True, max_length=100)


class ChangeEmailSerializer(StrictSerializer):
    aliases = {"email": "new_email"}

    new_email = Email()
    password = Password(max_length=10_000)


class TwoFactorSerializer(StrictSerializer):
    """A challenge and its code; instead of the challenge also whose newest one it is."""

    challenge = Secret(required=False, max_length=MAX_TOKEN)
    user_id = Text(required=False, max_length=64)
    code = Secret(min_length=6, max_length=11, help_text="Six digits, or a recovery code.")

    def validate_code(self, code: str) -> str:
        if len(code) != 6 and not RECOVERY.fullmatch(code):
            raise serializers.ValidationError("A code has six digits.")
        return code

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs.get("challenge")) == bool(attrs.get("user_id")):
            raise serializers.ValidationError({"challenge": ["Send the challenge of the login, or user_id."]})
        return attrs


class ChallengeSerializer(StrictSerializer):
    challenge = Secret(max_length=MAX_TOKEN)


class CodeSerializer(StrictSerializer):
    code = Secret(min_length=6, max_length=6, help_text="Six digits.")


class NothingSerializer(StrictSerializer):
    """A request that says all by its path."""


class PasswordSerializer(StrictSerializer):
    password = Password(max_length=10_000)
