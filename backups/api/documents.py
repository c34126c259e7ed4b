"""What the endpoints of backups answer, as JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from backups.models import Backup

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}
_WHOLE: Json = {"type": "integer"}
_FLAG: Json = {"type": "boolean"}
_MOMENT: Json = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


BACKUP = _object(
    {
        "id": _TEXT,
        "filename": _TEXT,
        "name": {"type": "string", "description": "The file name without its suffix."},
        "size_bytes": _WHOLE,
        "size_mb": {"type": "number", "description": "In units of 1,048,576 bytes."},
        "status": {"type": "string", "enum": list(Backup.Status.values)},
        "percent": {"type": "integer", "description": "How much is done, 0 to 100."},
        "created": {**_MOMENT, "description": "The instant that it shows."},
        "created_by": {**_TEXT_OR_NULL, "description": "The id of an account, or what made it by itself."},
        "origin": {"type": "string", "enum": list(Backup.Origin.values), "description": "Who wanted it."},
        "note": _TEXT,
        "with_files": _FLAG,
        "encrypted": _FLAG,
        "missing": {"type": "integer", "description": "Files that the storage had lost before."},
        "error": {**_TEXT_OR_NULL, "description": "Why it came to nothing."},
        "finished": _MOMENT_OR_NULL,
        "deleted": _MOMENT_OR_NULL,
        "deleted_by": _TEXT_OR_NULL,
        "path": _TEXT,
        "location": {"type": "string", "description": "The same: a path on the server, or the URL of an S3 object."},
    }
)
BACKUPS = _object({"items": {"type": "array", "items": BACKUP}, **dict.fromkeys(("total", "limit", "offset"), _WHOLE)})
DELETED = _object({"deleted": {"type": "boolean", "enum": [True]}})
UPLOAD: Json = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary", "description": "The archive of a backup."}},
    "required": ["file"],
}

RESTORE: Json = _object(
    {
        "success": {"type": "boolean", "enum": [True]},
        "status": {"type": "string", "enum": ["pending_restart", "restored"]},
        "message": _TEXT,
        "backup_filename": _TEXT,
    }
)
RESTORE["properties"]["safety_copy"] = {
    "type": "string",
    "description": "Where the state before is kept, once restored.",
}
STAGED = _object(
    {
        "status": {"type": "string", "enum": ["none", "pending_restart", "failed"]},
        "backup_filename": _TEXT_OR_NULL,
        "backup_created": _MOMENT_OR_NULL,
        "staged": _MOMENT_OR_NULL,
        "staged_by": {**_TEXT_OR_NULL, "description": "The id of an account."},
        "error": {**_TEXT_OR_NULL, "description": "Why the last restore came to nothing."},
    }
)
CANCELLED = _object({"cancelled": {"type": "boolean", "enum": [True]}, "backup_filename": _TEXT})
