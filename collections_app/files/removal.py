"""Bytes go when nobody has them any more: after the commit that says so, never before.

What is to go stands in rows, so a process may die at any point, and the next round goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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

    None goes while somebody holds them (:func:`hold_while`): the next round goes on. What the storage does
    not let go of stays due, behind all others.
    """
    count = 0
    stuck: list[str] = []
    old = clock.now() - STAGED_FOR
    storage.current().tidy(old)
    for found in (
        StoredFile.objects.filter(state=State.DUE),
        StoredFile.objects.filter(state=State.STAGED, since__lt=old),
    ):
        while rows := list(found.exclude(pk__in=stuck).order_by("since", "pk")[:PIECE]):
            # Asked after the rows were read: whoever comes to hold files later sees in them that they are due.
            if any(is_needed() for is_needed in _holds.values()):
                return count
            for row in rows:
                try:
                    _remove(row)
                    count += 1
                except ServiceUnavailable as fault:
                    logger.warning("%s is removed later: %s", row.name, fault)
                    StoredFile.objects.filter(pk=row.pk).update(since=clock.now())
                    stuck.append(row.pk)
                if background.is_ending() or len(stuck) >= PIECE:  # the storage is away
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
