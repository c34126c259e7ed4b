"""Which record has which file: kept in step with every change of a record, in its own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from collections_app import dialects
from collections_app.files.staging import Staged
from collections_app.models import FileUse, StoredFile
from collections_app.schema.definition import CollectionDef, Field
from core import background, clock
from core.errors import ServiceUnavailable, ValidationFailed

TASK = "collections.remove_files"
State = StoredFile.State


def names_in(value: Any) -> list[str]:
    """The stored names that a file field's value holds."""
    return value if isinstance(value, list) else [value] if value else []


def follow(collection: CollectionDef, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """A record was created, changed or deleted: its files are kept, or due to be removed.

    Raises ValidationFailed where it names a file that is neither its own, nor just uploaded
    for it, nor of the media library.
    """
    record_id = (after or before or {})["id"]
    changed = []
    for field in collection.file_fields:
        had = names_in(before[field.name]) if before else []
        has = names_in(after[field.name]) if after else []
        if had != has:
            changed.append((field, [name for name in has if name not in had], [n for n in had if n not in has]))
    for field, added, _ in changed:
        if added:
            _keep(collection, record_id, field, added)
    for field, _, gone in changed:
        if gone:
            _let_go(
                FileUse.objects.filter(
                    collection_id=collection.id, record_id=record_id, field_id=field.id, file__name__in=gone
                )
            )


def _keep(collection: CollectionDef, record_id: str, field: Field, added: Sequence[str]) -> None:
    _hold(list(map(str, added)))
    rows = {row.name: row for row in StoredFile.objects.filter(name__in=list(map(str, added)))}
    own = set(
        FileUse.objects.filter(
            collection_id=collection.id, record_id=record_id, file__in=list(rows.values())
        ).values_list("file__name", flat=True)
    )
    problems = []
    for name in added:
        row = rows.get(name)
        mine = row is not None and (
            (row.state == State.STAGED and isinstance(name, Staged) and not row.in_library)
            or (row.state == State.KEPT and (row.in_library or name in own))
        )
        if row is None or not mine:
            problems.append(f"There is no file {str(name)[:80]!r} in the media library.")
        elif row.state == State.KEPT:
            refused = field.kind.refusal(field, row.size, row.mime, row.width, row.height)  # type: ignore[attr-defined]
            problems += [refused] if refused else []
    if problems:
        raise ValidationFailed(fields={field.name: problems})
    fresh = [row.pk for row in rows.values() if row.state == State.STAGED]
    kept = StoredFile.objects.filter(pk__in=fresh, state=State.STAGED).update(state=State.KEPT, since=clock.now())
    if kept < len(fresh):
        raise ServiceUnavailable  # it took so long that they were taken for a dead process's
    FileUse.objects.bulk_create(
        FileUse(file=rows[name], collection_id=collection.id, record_id=record_id, field_id=field.id) for name in added
    )


def _hold(names: Sequence[str]) -> None:
    """Nobody removes these files until the transaction ends; others may take them meanwhile, in any order.

    On SQLite whoever writes is alone.
    """
    dialect = dialects.current()
    if dialect.name == "postgresql":
        marks = ", ".join([dialect.placeholder] * len(names))
        dialect.execute(f"SELECT 1 FROM files WHERE name IN ({marks}) FOR KEY SHARE", names)


def _let_go(uses: QuerySet[FileUse]) -> None:
    """These uses end; files that nobody has any more are due, and go after the commit."""
    files = list(uses.values_list("file_id", flat=True).distinct())
    uses.delete()
    for start in range(0, len(files), 500):
        others = Exists(FileUse.objects.filter(file_id=OuterRef("pk")))
        StoredFile.objects.filter(~others, pk__in=files[start : start + 500], in_library=False).update(
            state=State.DUE, since=clock.now()
        )
    if files:
        transaction.on_commit(partial(background.wake, TASK))


def forget(collection_id: str, field_ids: Iterable[str] | None = None) -> None:
    """Records or fields are gone, without a change of each record: their files are due."""
    of_fields = Q() if field_ids is None else Q(field_id__in=list(field_ids))
    _let_go(FileUse.objects.filter(of_fields, collection_id=collection_id))


def forget_several(collection_id: str, field_id: str) -> None:
    """A field holds one file now: records that had several have none any more, which somebody has agreed to."""
    of_field = FileUse.objects.filter(collection_id=collection_id, field_id=field_id)
    several = of_field.values("record_id").annotate(count=Count("pk")).filter(count__gt=1)
    _let_go(of_field.filter(record_id__in=several.values("record_id")))
