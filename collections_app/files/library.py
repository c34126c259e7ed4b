"""The media library: files that stand by themselves, and that file fields may name."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import BooleanField, Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from accounts.principals import Principal
from collections_app import dialects
from collections_app.files import facts, removal, sniffing, staging, storage
from collections_app.files.uses import TASK
from collections_app.models import FileUse, StoredFile
from core import background, clock
from core.errors import Conflict, NotFound, PayloadTooLarge

State = StoredFile.State


def entries(search: str = "") -> QuerySet[StoredFile]:
    """All entries, the newest first; ``search`` looks into their original names."""
    found = StoredFile.objects.filter(in_library=True, state=State.KEPT)
    if search:
        dialect = dialects.current()
        contains = dialect.contains("original_name", "%s")
        # Below Django's own lookups: those of SQLite know small letters of English alone.
        found = found.annotate(
            is_meant=RawSQL(contains, [dialect.contains_param(search)], BooleanField())  # noqa: S611 - no word of theirs
        ).filter(Q(is_meant=True) | Q(name=search))
    uses = FileUse.objects.filter(file_id=OuterRef("pk")).order_by().values("file_id").annotate(n=Count("pk"))
    return found.annotate(count=Coalesce(Subquery(uses.values("n")), 0)).order_by("-created", "-id")


def entry(entry_id: str) -> StoredFile:
    """One entry; NotFound otherwise."""
    found = entries().filter(pk=entry_id).first() if "\x00" not in entry_id else None
    if found is None:
        raise NotFound("There is no such file in the media library.")
    return found


def add(upload: UploadedFile, by: Principal) -> StoredFile:
    """Store a file as an entry; PayloadTooLarge beyond ``max_upload_size``."""
    refused = staging.too_large(int(upload.size or 0))
    if refused:
        raise PayloadTooLarge(refused)
    original = facts.original_name(str(upload.name or ""))
    found = sniffing.inspect(upload, original)
    row = staging.announce(found, original, by.key, in_library=True)
    try:
        storage.current().new(facts.path_of(row.name), upload)
        StoredFile.objects.filter(pk=row.pk, state=State.STAGED).update(state=State.KEPT, since=clock.now())
    except BaseException:
        removal.discard([row.name])
        raise
    return entry(row.pk)


def remove(entry_id: str) -> None:
    """Take an entry out; NotFound, or Conflict while records have it."""
    with transaction.atomic():
        row = StoredFile.objects.select_for_update().filter(pk=entry(entry_id).pk, state=State.KEPT).first()
        if row is None:
            raise NotFound("There is no such file in the media library.")
        uses = row.uses.count()
        if uses:
            raise Conflict(f"The file is in use by {uses} record{'s' if uses > 1 else ''}.", extra={"uses": uses})
        row.state, row.since = State.DUE, clock.now()
        row.save(update_fields=["state", "since"])
        transaction.on_commit(lambda: background.wake(TASK))


def as_json(row: StoredFile) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "id": row.pk,
        "name": row.name,
        "original_name": row.original_name,
        "size": row.size,
        "mime_type": row.mime,
        "sha256": row.sha256,
        "width": row.width,
        "height": row.height,
        "uses": getattr(row, "count", 0),
        "created": clock.isoformat(row.created),
    }
