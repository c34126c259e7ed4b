"""The account paths of auth collections: described as those of the staff, but about records."""

from __future__ import annotations

from typing import Any

from accounts.api import documents
from collections_app.api.openapi.parts import Json

ROOT = "/api/v1/collections/{collection}/auth/"
_TEXT: Json = {"type": "string"}
_EMAIL: Json = {"type": "string", "format": "email"}
_PASSWORD: Json = {"type": "string", "format": "password", "writeOnly": True}
_MOMENT: Json = {"type": "string", "format": "date-time"}

ACCOUNT: Json = {
    "type": "object",
    "description": "The record as its owner sees it, with the fields of its collection.",
    "properties": {
        "id": _TEXT,
        "collection": _TEXT,
        "email": _EMAIL,
        "verified": {"type": "boolean"},
        "role": _TEXT,
        "two_fa_enabled": {},
        "created": _MOMENT,
        "updated": _MOMENT,
    },
    "required": ["id", "collection", "email", "verified", "role", "two_fa_enabled", "created", "updated"],
}
_REGISTER: Json = {
    "type": "object",
    "description": "A new record of the collection.",
    "properties": {"email": _EMAIL, "password": _PASSWORD, "password_confirm": _PASSWORD},
    "required": ["email", "password"],
}
_NAME: Json = {
    "name": "collection",
    "in": "path",
    "required": True,
    "description": "An auth collection, by name or id.",
    "schema": {"type": "string"},
}


def about_records(paths: dict[str, Json]) -> dict[str, Json]:
    """The paths, those of auth collections with the shapes of their records."""
    return {path: _about_record(path, item) if path.startswith(ROOT) else item for path, item in paths.items()}


def _about_record(path: str, item: Json) -> Json:
    found: Json = _replaced(item)
    for operation in found.values():
        others = [parameter for parameter in operation["parameters"] if parameter["name"] != "collection"]
        operation["parameters"] = [_NAME, *others]
        if path == f"{ROOT}register":
            content = operation["requestBody"]["content"]
            operation["requestBody"]["content"] = {media_type: {"schema": _REGISTER} for media_type in content}
    return found


def _replaced(part: Any) -> Any:
    """The part, with the account of a record wherever one of the staff stands."""
    if part == documents.USER:
        return ACCOUNT
    if part == documents.REGISTERED:
        beside = documents.REGISTERED["properties"].keys() - documents.USER["properties"].keys()
        tokens = {name: _replaced(documents.REGISTERED["properties"][name]) for name in sorted(beside)}
        return {
            **ACCOUNT,
            "properties": {**ACCOUNT["properties"], **tokens},
            "required": [*ACCOUNT["required"], *tokens],
        }
    if isinstance(part, dict):
        return {key: _replaced(value) for key, value in part.items()}
    return [_replaced(item) for item in part] if isinstance(part, list) else part
