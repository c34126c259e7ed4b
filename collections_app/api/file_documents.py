"""What the endpoints of files answer, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer"}
_PIXELS: Json = {"type": ["integer", "null"], "description": "Pixels, of a picture."}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


ENTRY = _object(
    {
        "id": _TEXT,
        "name": {"type": "string", "description": "What a file field takes."},
        "original_name": _TEXT,
        "size": {"type": "integer", "description": "Bytes."},
        "mime_type": {"type": "string", "description": "By the content."},
        "sha256": _TEXT,
        "width": _PIXELS,
        "height": _PIXELS,
        "uses": {"type": "integer", "description": "How often records have it."},
        "created": {"type": "string", "format": "date-time"},
    }
)
ENTRIES = _object(
    {
        "items": {"type": "array", "items": ENTRY},
        **dict.fromkeys(("page", "per_page", "total", "total_pages"), _WHOLE),
    }
)
TOKEN = _object({"token": _TEXT, "expires_in": {"type": "integer", "description": "Seconds."}})
UPLOAD: Json = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
    "required": ["file"],
}
