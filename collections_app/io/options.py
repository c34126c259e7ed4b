"""What a caller may say about an import: which file, and how its rows are to be taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import orjson
from django.conf import settings
from django.utils.datastructures import MultiValueDict

from collections_app.records.query import flag
from core.errors import PayloadTooLarge, ValidationFailed
from settings_app import values
from settings_app.registry import Setting, declare

PARAMETERS = frozenset({"skip_validation", "dry_run", "atomic", "match", "map", "background"})
MAX_BYTES = "import_max_bytes"


@dataclass(frozen=True, slots=True)
class Options:
    """How to import. ``names`` are the fields that columns of other names mean; ``match`` is the field
    whose value tells which record a row is about, empty where each row is a new one."""

    skip_validation: bool = False
    dry_run: bool = False
    atomic: bool = False
    match: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


def declare_settings() -> None:
    most = settings.REQUEST_MAX_BYTES  # what is longer gets no further than the door
    text = "Bytes that an imported file may have; no request has more than REQUEST_MAX_BYTES."
    declare(Setting(MAX_BYTES, "integer", min(100 * 1024**2, most), "import", text, least=1, most=most))


def options(raw: Mapping[str, str]) -> Options:
    """Checked query parameters; ValidationFailed says what is wrong with them."""
    problems: dict[str, list[str]] = {}
    names = _names(raw.get("map", ""), problems)
    found = Options(
        **{key: flag(raw, key, problems) for key in ("skip_validation", "dry_run", "atomic")},
        match=raw.get("match", ""),
        names=names,
    )
    flag(raw, "background", problems)
    if problems:
        raise ValidationFailed(fields=problems)
    return found


def in_background(raw: Mapping[str, str]) -> bool | None:
    """What the caller wants of that; None where that is for us to say."""
    return flag(raw, "background", {}) if raw.get("background") else None


def _names(text: str, problems: dict[str, list[str]]) -> dict[str, str]:
    """``Name:title,Price:price``, or the same as a JSON object."""
    if not text:
        return {}
    if text.startswith("{"):
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError:
            given = None
        if isinstance(given, dict) and all(isinstance(name, str) for name in given.values()):
            return given
    else:
        pairs = [part.rpartition(":") for part in text.split(",")]
        if all(column and name for column, _, name in pairs):
            return {column.strip(): name.strip() for column, _, name in pairs}
    problems["map"] = ['Expected pairs as in "Column:field,Other:field", or a JSON object of them.']
    return {}


def file_of(files: MultiValueDict[str, Any], fields: Iterable[Any]) -> IO[bytes]:
    """The uploaded file of a form; ValidationFailed, or PayloadTooLarge beyond ``import_max_bytes``."""
    problems = {str(name)[:100]: ["Unknown field."] for name in {*files, *fields} if name != "file"}
    given = files.getlist("file")
    if not given:
        problems["file"] = ["Send the file as multipart/form-data under this name."]
    elif len(given) > 1:
        problems["file"] = ["Send one file at a time."]
    if problems:
        raise ValidationFailed(fields=problems)
    (sent,) = given
    most = values.get(MAX_BYTES)
    if sent.size > most:
        raise PayloadTooLarge(f"The file has {sent.size:,} bytes; at most {most:,} are taken (import_max_bytes).")
    found: IO[bytes] = sent.file
    return found
