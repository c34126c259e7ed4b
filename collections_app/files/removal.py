"""Bytes go when nobody has them any more: after the commit that says so, never before.

What is to go stands in rows, so a process may die at any point, and the next round goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from collections_app.files import facts, storage
from collections_app.models import StoredFile
from core import background, clock
from core.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

STAGED_FOR = timedelta(hours=1)  # longer than any request takes
PIECE = 200
THUMBS = "thumbs"
State = StoredFile.State

_holds: dict[str, Callable[[], bool]] = {}


def hold_while(name: str, is_needed: Callable[[], bool]) -> None:
    """Have the bytes of kept files stay while ``is_needed``, though their records are gone: somebody copies them."""
    _holds[name] = is_needed


def discard(names: Sequence[str]) -> None:
    """Remove what was staged and no record has kept. What the storage does not let go of is due."""
    for row in StoredFile.objects.filter(name__in=list(names), state=State.STAGED):
        try:
            _remove(row)
        except ServiceUnavailable as fault:
            logger.warning("%s is removed later: %s", row.name, fault)


def remove_due() -> int:
    """One round: what is due, and what was staged by processes that died; answers how many files went.

    None goes while somebody holds them (:func:`hold_while`): the next round goes on.
    """
    count = 0
    old = clock.now() - STAGED_FOR
    storage.current().tidy(old)
    for found in (
        StoredFile.objects.filter(state=State.DUE),
        StoredFile.objects.filter(state=State.STAGED, since__lt=old),
    ):
        while rows := list(found.order_by("since", "pk")[:PIECE]):
            # Asked after the rows were read: whoever comes to hold files later sees in them that they are due.
            if any(is_needed() for is_needed in _holds.values()):
                return count
            for row in rows:
                _remove(row)
                count += 1
                if background.is_ending():
                    return count
    return count


def _remove(row: StoredFile) -> None:
    """First the bytes: whoever dies in between finds the row again."""
    # Nobody may take it meanwhile: a staged file that is too old is not kept any more.
    if row.state == State.STAGED and not StoredFile.objects.filter(pk=row.pk, state=State.STAGED).update(
        state=State.DUE, since=clock.now()
    ):
        return
    storage.current().remove_folder(f"{THUMBS}/{facts.path_of(row.name)}")
    storage.current().remove(facts.path_of(row.name))
    StoredFile.objects.filter(pk=row.pk).delete()


@dataclass(slots=True)
class Report:
    """What a sweep found: files that went or would go, bytes without a row, rows without their bytes."""

    removed: int = 0
    without_row: list[str] = field(default_factory=list)
    without_bytes: list[str] = field(default_factory=list)


def sweep(*, dry_run: bool = False) -> Report:
    """Compare all that is stored with all rows. Bytes without a row go when they are old enough."""
    report = Report()
    if dry_run:
        old = clock.now() - STAGED_FOR
        report.removed = (
            StoredFile.objects.filter(state=State.DUE).count()
            + StoredFile.objects.filter(state=State.STAGED, since__lt=old).count()
        )
    else:
        report.removed = remove_due()
    store, began = storage.current(), clock.now()
    present: set[str] = set()
    batch: list[str] = []
    for path, written in store.walk():
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
    return report


def _strays(paths: Sequence[str]) -> list[str]:
    """Which of these no row knows of."""
    names = {path: _name_of(path) for path in paths}
    known = set(StoredFile.objects.filter(name__in=set(names.values())).values_list("name", flat=True))
    return [path for path in paths if names[path] not in known]


def _name_of(path: str) -> str:
    """The stored name that a path is of: ``ab/abc….png``, ``thumbs/ab/abc….png/100x100.png``."""
    parts = path.split("/")
    return parts[2] if parts[0] == THUMBS and len(parts) > 3 else parts[-1]
