"""What the account endpoints answer, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from accounts.models import ApiKey, Role

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_MOMENT: Json = {"type": "string", "format": "date-time"}
_ROLE: Json = {"type": "string", "enum": list(Role.values)}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


USER = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "email": {"type": "string", "format": "email"},
        **dict.fromkeys(("username", "login", "name", "first_name", "last_name", "phone_number"), _TEXT),
        "phone_verified": _FLAG,
        **dict.fromkeys(("avatar_url", "profile_picture_url", "bio", "public_name"), _TEXT),
        "timezone": _TEXT,
        "language": _TEXT,
        "role": _ROLE,
        "roles": {"type": "array", "items": _ROLE},
        **dict.fromkeys(("verified", "email_verified", "is_active", "two_fa_enabled"), _FLAG),
        "last_login_at": {"type": ["string", "null"], "format": "date-time"},
        **dict.fromkeys(("created", "created_at", "updated", "updated_at"), _MOMENT),
    }
)

_TOKENS: Json = {
    "access_token": _TEXT,
    "refresh_token": _TEXT,
    "token_type": {"type": "string", "const": "bearer"},
    "expires_in": {"type": "integer", "description": "Seconds."},
    "user": USER,
}

_CHALLENGE = _object(
    {
        "requires_2fa": {"type": "boolean", "const": True},
        **dict.fromkeys(("user_id", "challenge"), _TEXT),
        "method": {"type": "string", "enum": ["email", "totp"]},
        "message": _TEXT,
    }
)
SIGNED_IN: Json = {"anyOf": [_object(_TOKENS), _CHALLENGE]}
REGISTERED = _object({**USER["properties"], **_TOKENS})
USERS: Json = {"type": "array", "items": USER}
DELETED = _object({"deleted": {"type": "boolean", "const": True}})
_OR_NULL: Json = {"type": ["string", "null"]}
_MOMENT_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
INVITE = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "code": {**_OR_NULL, "description": "null where the caller could not have made the invitation."},
        "email": _OR_NULL,
        "role": _ROLE,
        "created_by": _OR_NULL,
        "created_at": _MOMENT,
        "expires_at": _MOMENT_OR_NULL,
        "used_by": _OR_NULL,
        "used_at": _MOMENT_OR_NULL,
        **dict.fromkeys(("creator_login", "creator_email", "user_login", "user_email"), _OR_NULL),
    }
)
INVITES: Json = {"type": "array", "items": INVITE}
MESSAGE = _object({"message": _TEXT})
PASSWORD_CHANGED = _object({"message": _TEXT, **_TOKENS})
VERIFIED = _object({"message": _TEXT, "user": USER})
CODE_SENT = _object({"message": _TEXT, "email": {"type": "string", "format": "email"}})
TWO_FACTOR = _object(
    {
        "enabled": _FLAG,
        "method": {"type": ["string", "null"], "enum": ["email", "totp", None]},
        "recovery_codes_left": {"type": "integer"},
    }
)
APP = _object(
    {
        "secret": _TEXT,
        "otpauth_url": {"type": "string", "format": "uri"},
        "qr": {"type": "string", "format": "uri", "description": "A data URI of an SVG image."},
    }
)
RECOVERY_CODES = _object({"message": _TEXT, "recovery_codes": {"type": "array", "items": _TEXT}})
REVOKED = _object({"revoked": {"type": "integer", "description": "How many sign-ins ended."}})
SIGN_INS = _object(
    {
        "items": {
            "type": "array",
            "items": _object(
                {
                    "id": {"type": "string", "format": "uuid"},
                    "current": _FLAG,
                    **dict.fromkeys(("method", "address", "user_agent"), _TEXT),
                    **dict.fromkeys(("created", "last_used", "expires"), _MOMENT),
                }
            ),
        }
    }
)

_API_KEY = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        **dict.fromkeys(("name", "prefix"), _TEXT),
        "access": {"type": "string", "enum": list(ApiKey.Access.values)},
        "collections": {"type": ["array", "null"], "items": _TEXT, "description": "null: all of them."},
        "created": _MOMENT,
        "rate_limit": {"type": ["integer", "null"], "description": "Requests a minute; null: as all clients."},
        **{key: {"type": ["string", "null"], "format": "date-time"} for key in ("expires_at", "last_used_at")},
    }
)
API_KEYS = _object({"items": {"type": "array", "items": _API_KEY}})
NEW_API_KEY = _object({**_API_KEY["properties"], "key": {"type": "string", "description": "Shown this once."}})
