"""Names of stored files. The bytes live in the storage, under the record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from collections_app.schema.fields.base import InvalidOptions, InvalidValue
from collections_app.schema.fields.choices import ListStorage, at_most

_MIME = re.compile(r"[\w.+-]+/(?:[\w.+-]+|\*)")
_THUMB = re.compile(r"(\d{1,4})x(\d{1,4})[tbf]?")
DEFAULT_MAX_SIZE = 5 * 1024 * 1024


class File(ListStorage):
    name, label, group = "file", "File", "Media"
    option_key = "file"
    can_be_unique = can_be_indexed = False

    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(raw) - {"max_files", "max_size", "mime_types", "thumbs", "protected"})
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        size = raw.get("max_size", DEFAULT_MAX_SIZE)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 2**40:
            raise InvalidOptions("max_size must be a number of bytes.")
        types = raw.get("mime_types") or []
        if not isinstance(types, list) or not all(isinstance(t, str) and _MIME.fullmatch(t) for t in types):
            raise InvalidOptions("mime_types must be a list such as ['image/png', 'image/*'].")
        thumbs = raw.get("thumbs") or []
        if not isinstance(thumbs, list) or not all(isinstance(t, str) and _THUMB.fullmatch(t) for t in thumbs):
            raise InvalidOptions("thumbs must be a list of sizes such as ['100x100', '0x300', '500x0t'].")
        protected = raw.get("protected", False)
        if not isinstance(protected, bool):
            raise InvalidOptions("protected must be true or false.")
        return {
            "max_files": at_most("max_files", raw, 1, 100),
            "max_size": size,
            "mime_types": types,
            "thumbs": thumbs,
            "protected": protected,
        }

    def multiple(self, options: Mapping[str, Any]) -> bool:
        return bool(options["max_files"] > 1)

    def clean(self, field: Any, value: Any) -> Any:
        raise InvalidValue("A file is sent as multipart/form-data, not as text.")

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.CharField(read_only=True)

    def json_schema(self, field: Any) -> dict[str, Any]:
        one = {"type": "string"}
        return {"type": "array", "items": one} if field.multiple else one
