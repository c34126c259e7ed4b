"""Names of stored files. What they are, and their bytes, is the affair of collections_app.files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from collections_app.schema.fields.base import InvalidOptions, InvalidValue
from collections_app.schema.fields.choices import ListStorage, as_list, at_most

_MIME = re.compile(r"[\w.+-]+/(?:[\w.+-]+|\*)")
_THUMB = re.compile(r"(\d{1,4})x(\d{1,4})([tbf]?)")
_NAME = re.compile(r"[0-9a-z]{24}(?:\.[0-9a-z]{1,8})?")
NOT_A_FILE = "Send a file as multipart/form-data, or the name of one that is stored already."
MAX_SIDE = 4096  # pixels of a thumb
MAX_PIXELS = 50_000_000  # of a picture that thumbs are made of
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
        if not isinstance(thumbs, list) or not all(isinstance(t, str) and _is_thumb(t) for t in thumbs):
            raise InvalidOptions(
                f"thumbs must be a list of sizes such as ['100x100', '0x300', '500x300f'], {MAX_SIDE} at most."
            )
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
        """Stored names. Whether the record may have those files is looked up when it is written."""
        names: list[Any] = as_list(value)
        if not all(isinstance(name, str) for name in names):
            raise InvalidValue(NOT_A_FILE)
        names = list(dict.fromkeys(names))
        # Uploads that can't be stored say why (files.staging).
        refused = [name.refused for name in names if getattr(name, "refused", "")]
        if refused:
            raise InvalidValue(*refused)
        if not all(_NAME.fullmatch(name) for name in names):
            raise InvalidValue(NOT_A_FILE)
        if not field.multiple:
            if len(names) != 1:
                raise InvalidValue("Send one file.")
            return names[0]
        if len(names) > field.options["max_files"]:
            raise InvalidValue(f"At most {field.options['max_files']} files.")
        return names

    def too_large(self, field: Any, size: int) -> str:
        """Why the field does not take a file of so many bytes; empty where it does."""
        most = field.options["max_size"]
        return f"The file has {size:,} bytes; at most {most:,} are allowed." if size > most else ""

    def refusal(self, field: Any, size: int, mime: str, width: int | None, height: int | None) -> str:
        """Why the field does not take a file with this content; empty where it does."""
        if refused := self.too_large(field, size):
            return refused
        patterns = [pattern.lower() for pattern in field.options["mime_types"]]
        if patterns and not {mime, f"{mime.partition('/')[0]}/*", "*/*"} & set(patterns):
            return f"This is a file of type {mime}; allowed are {', '.join(patterns)}."
        if field.options["thumbs"] and width and height and width * height > MAX_PIXELS:
            return f"The picture has {width:,} × {height:,} pixels; at most {MAX_PIXELS:,} are allowed."
        return ""

    def serializer_field(self, field: Any, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        return serializers.FileField(style={"multiple": field.multiple}, **kwargs)

    def json_schema(self, field: Any) -> dict[str, Any]:
        one = {"type": "string"}
        return {"type": "array", "items": one} if field.multiple else one


def _is_thumb(size: str) -> bool:
    found = _THUMB.fullmatch(size)
    if found is None:
        return False
    width, height, mode = int(found[1]), int(found[2]), found[3]
    return 0 < max(width, height) <= MAX_SIDE and (min(width, height) > 0 or not mode)
