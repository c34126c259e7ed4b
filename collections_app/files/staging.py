"""Uploads become stored names before the transaction that gives them to a record.

First a row says that there will be bytes under a name (``staged``), then the bytes are
written, then the record's unit of work keeps the name (``uses``). Whatever comes between, a
refusal or the death of the process, leaves a row to find them by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from django.core.files.uploadedfile import UploadedFile

from collections_app.files import facts, removal, sniffing, storage
from collections_app.files.facts import Facts
from collections_app.models import StoredFile
from collections_app.schema.definition import Field
from core import clock, ids
from settings_app import values
from settings_app.registry import Setting, declare

MAX_SIZE, MAX_FILE_SIZE = "max_upload_size", "max_file_size"


def declare_settings() -> None:
    declare(
        Setting(MAX_SIZE, "integer", 100 * 1024 * 1024, "storage", "Bytes that an uploaded file may have.", least=1),
        Setting(
            MAX_FILE_SIZE,
            "integer",
            lambda: values.get(MAX_SIZE),
            "storage",
            "Likewise; the smaller of the two holds.",
            least=1,
        ),
    )


class Staged(str):
    """The name of a file that this very request has uploaded: a text like any other, with what is known of it.

    ``refused`` says why it can't be stored; then there are no bytes.
    """

    sha256: str
    refused: str

    @classmethod
    def of(cls, name: str, sha256: str = "", refused: str = "") -> Self:
        staged = cls(name)
        staged.sha256, staged.refused = sha256, refused
        return staged


@contextmanager
def uploaded(data: Mapping[str, Any], fields: Mapping[str, Field], by: str) -> Iterator[dict[str, Any]]:
    """The data with names for the uploads in it. What no record has kept at the end is gone.

    ``fields`` are the file fields that the caller may set, by the keys of the data.
    """
    staged: list[str] = []
    try:
        yield {key: _staged(value, fields[key], by, staged) if key in fields else value for key, value in data.items()}
    finally:
        if staged:
            removal.discard(staged)


def _staged(value: Any, field: Field, by: str, staged: list[str]) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        most = field.options["max_files"]
        if len(value) > most:  # before any of them is read
            return [Staged.of("refused", refused=f"At most {most} file{'s' if most > 1 else ''}.")]
        return [_staged(item, field, by, staged) for item in value]
    return _stage(value, field, by, staged) if isinstance(value, UploadedFile) else value


def _stage(upload: UploadedFile, field: Field, by: str, staged: list[str]) -> Staged:
    size = int(upload.size or 0)
    refused = too_large(size) or field.kind.too_large(field, size)  # type: ignore[attr-defined]
    if refused:
        return Staged.of("refused", refused=refused)
    original = facts.original_name(str(upload.name or ""))
    found = sniffing.inspect(upload, original)
    refused = field.kind.refusal(field, found.size, found.mime, found.width, found.height)  # type: ignore[attr-defined]
    if refused:
        return Staged.of("refused", found.sha256, refused)
    row = announce(found, original, by)
    staged.append(row.name)
    storage.current().new(facts.path_of(row.name), upload)
    return Staged.of(row.name, found.sha256)


def too_large(size: int) -> str:
    """Why a file of so many bytes is not taken anywhere; empty where it is."""
    most = min(values.several(MAX_SIZE, MAX_FILE_SIZE).values())
    return f"The file has {size:,} bytes; at most {most:,} are taken ({MAX_SIZE})." if size > most else ""


def announce(found: Facts, original: str, by: str, *, in_library: bool = False) -> StoredFile:
    """The row of a file whose bytes are about to be written."""
    now = clock.now()
    return StoredFile.objects.create(
        id=ids.new_id(),
        name=facts.new_name(found.extension),
        original_name=original,
        size=found.size,
        mime=found.mime,
        sha256=found.sha256,
        width=found.width,
        height=found.height,
        state=StoredFile.State.STAGED,
        in_library=in_library,
        uploaded_by=by,
        created=now,
        since=now,
    )
