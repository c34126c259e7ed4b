"""What the OAuth endpoints answer, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from accounts.api.documents import Json

_TEXT: Json = {"type": "string"}
_MOMENT: Json = {"type": "string", "format": "date-time"}

_PROVIDER: Json = {
    "type": "object",
    "properties": dict.fromkeys(("id", "name", "login_url"), _TEXT),
    "required": ["id", "name", "login_url"],
}
IDENTITY: Json = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "provider", "name", "email"), _TEXT),
        "created": _MOMENT,
        "last_login": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["id", "provider", "name", "email", "created", "last_login"],
}
LINK: Json = {
    "type": "object",
    "properties": {"url": _TEXT, "expires_in": {"type": "integer", "description": "Seconds."}},
    "required": ["url", "expires_in"],
}


def _items(of: Json) -> Json:
    return {"type": "object", "properties": {"items": {"type": "array", "items": of}}, "required": ["items"]}


PROVIDERS = _items(_PROVIDER)
IDENTITIES = _items(IDENTITY)
