"""All that is stored against all rows, and these against all records: what nobody has goes, the rest is told.

A record's own value is what counts. What is looked at changes meanwhile, so a difference is
one that is there at a second look, and nothing goes that is not older than any request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.files import facts, removal, storage
from collections_app.files.removal import STAGED_FOR, THUMBS
from collections_app.files.uses import names_in
from collections_app.models import FileUse, StoredFile
from collections_app.records.codec import codec, placeholders
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef
from core import clock

PIECE = 200
State = StoredFile.State
# Names that are given here; what else lies in the storage is somebody else's.
_OURS = re.compile(rf"(?:{THUMBS}/)?[0-9a-z]{{2}}/[0-9a-z]{{24}}(?:\.[0-9A-Za-z]+)?(?:/[^/]+)?|\.incoming/[^/]+")
Use = tuple[str, str, str]  # record, field id, stored name


@dataclass(slots=True)
class Report:
    """What a sweep found.

    ``removed`` files went or would go, ``without_row`` are paths that no row knows of, ``foreign`` those that
    are none of ours. Stored names: ``without_bytes``. As ``collection/record field name``: ``not_named`` by the
    record that they are kept for, and ``not_kept`` for the record that names them.
    """

    removed: int = 0
    without_row: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    without_bytes: list[str] = field(default_factory=list)
    not_named: list[str] = field(default_factory=list)
    not_kept: list[str] = field(default_factory=list)


def sweep(*, dry_run: bool = False) -> Report:
    """Compare everything, and remove what is certainly nobody's."""
    report, began = Report(), clock.now()
    named = _compare_records(report, dry_run=dry_run)
    unused = StoredFile.objects.filter(
        ~Exists(FileUse.objects.filter(file_id=OuterRef("pk"))),
        state=State.KEPT,
        in_library=False,
        since__lt=began - STAGED_FOR,
    ).exclude(name__in=named)
    if dry_run:
        due = StoredFile.objects.filter(state=State.DUE).count()
        dead = StoredFile.objects.filter(state=State.STAGED, since__lt=began - STAGED_FOR).count()
        report.removed = unused.count() + due + dead
    else:
        unused.update(state=State.DUE)
        report.removed = removal.remove_due()
    _compare_storage(report, dry_run=dry_run)
    return report


# --- rows and records -------------------------------------------------------------------------


def _compare_records(report: Report, *, dry_run: bool) -> set[str]:
    """The names of files that records have, and that are not kept for them."""
    names: set[str] = set()
    old = clock.now() - STAGED_FOR
    for collection in registry.latest().by_id.values():
        if collection.type == "view" or not collection.table:
            continue
        for ids in _ids(collection):
            missing, idle = _differences(collection, ids) if ids else (set(), set())
            again = sorted({record_id for record_id, _, _ in missing | idle})
            if not again:
                continue
            still_missing, still_idle = _differences(collection, again)
            missing &= still_missing
            names |= {name for _, _, name in missing}
            report.not_kept += [_told(collection, one) for one in sorted(missing)]
            for one in sorted(idle & still_idle):
                report.not_named.append(_told(collection, one))
                record_id, field_id, name = one
                found = FileUse.objects.filter(
                    collection_id=collection.id,
                    record_id=record_id,
                    field_id=field_id,
                    file__name=name,
                    file__since__lt=old,
                )
                if not dry_run:
                    found.delete()
    return names


def _ids(collection: CollectionDef) -> Iterator[list[str]]:
    """The ids of all records that have files, by a use or else by a value, in pieces."""
    uses, last = FileUse.objects.filter(collection_id=collection.id), ""
    of_uses = uses.order_by("record_id").values_list("record_id", flat=True).distinct()
    while ids := list(of_uses.filter(record_id__gt=last)[:PIECE]):
        yield ids
        last = ids[-1]
    if not collection.file_fields:
        return
    dialect, last = dialects.current(), ""
    filled = " OR ".join(f"{quote(one.column)} IS NOT NULL" for one in collection.file_fields)
    mark = dialect.placeholder
    sql = f"SELECT id FROM {quote(collection.table)} WHERE id > {mark} AND ({filled}) ORDER BY id LIMIT {PIECE}"
    while rows := dialect.rows(sql, [last]):
        last = rows[-1][0]
        seen = set(of_uses.filter(record_id__in=[row[0] for row in rows]))
        yield [row[0] for row in rows if row[0] not in seen]


def _differences(collection: CollectionDef, ids: Sequence[str]) -> tuple[set[Use], set[Use]]:
    """What these records name and is not kept for them, and what is kept for them and they don't name."""
    kept = FileUse.objects.filter(collection_id=collection.id, record_id__in=ids, file__state=State.KEPT)
    uses: set[Use] = set(kept.values_list("record_id", "field_id", "file__name"))
    named: set[Use] = set()
    if collection.file_fields:
        reader = codec(collection, [collection.by_id["id"], *collection.file_fields])
        sql = f"SELECT {reader.columns} FROM {quote(collection.table)} AS t WHERE t.id IN ({placeholders(len(ids))})"
        for record in reader.records(dialects.current().rows(sql, ids)):
            for one in collection.file_fields:
                named |= {(record["id"], one.id, name) for name in names_in(record[one.name])}
    return named - uses, uses - named


def _told(collection: CollectionDef, use: Use) -> str:
    record_id, field_id, name = use
    known = collection.by_id.get(field_id)
    return f"{collection.name}/{record_id} {known.name if known else field_id} {name}"


# --- the storage and rows ---------------------------------------------------------------------


def _compare_storage(report: Report, *, dry_run: bool) -> None:
    store, began = storage.current(), clock.now()
    present: set[str] = set()
    batch: list[str] = []
    for path, written in store.walk():
        if not _OURS.fullmatch(path):
            report.foreign.append(path)
            continue
        if not path.startswith(f"{THUMBS}/"):
            present.add(path)
        if written < began - STAGED_FOR:
            batch.append(path)
        if len(batch) >= PIECE:
            report.without_row += _strays(batch)
            batch = []
    report.without_row += _strays(batch)
    kept = StoredFile.objects.filter(state=State.KEPT, created__lt=began).order_by("pk")
    for name in kept.values_list("name", flat=True).iterator():
        if facts.path_of(name) not in present:
            report.without_bytes.append(name)
    if not dry_run:
        for path in report.without_row:
            store.remove(path)


def _strays(paths: Sequence[str]) -> list[str]:
    """Which of these no row knows of."""
    names = {path: _name_of(path) for path in paths}
    known = set(StoredFile.objects.filter(name__in=set(names.values())).values_list("name", flat=True))
    return [path for path in paths if names[path] not in known]


def _name_of(path: str) -> str:
    """The stored name that a path is of: ``ab/abc….png``, ``thumbs/ab/abc….png/100x100.png``."""
    parts = path.split("/")
    return parts[2] if parts[0] == THUMBS and len(parts) > 3 else parts[-1]
