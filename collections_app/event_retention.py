"""How long the event log is kept: for so many days and so many rows, the oldest go first.

The log is cut from the front only, so what is left has no gaps, and how far it was cut
(``EventLogState``) is written with the cut: whoever comes back from before that is told so.
What somebody still needs stays (:func:`keep_from`), for as long again: a reader that is
stuck must not make the log grow for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep

from django.db import transaction

from collections_app import dialects, events
from collections_app.models import EventLogState
from core import background, clock
from settings_app import values
from settings_app.registry import Setting, declare

TASK = "collections.trim_events"
DAYS, ROWS = "event_retention_days", "event_retention_rows"
MAX_DAYS = 36_500
FEWEST, MOST = 50, 2000  # rows of one transaction
LOCKED_SECONDS = 0.03  # that it is meant to take; others write as long before the next one
PATIENCE = 2  # how many times the limits somebody may be behind

logger = logging.getLogger("fastcms.events")

_needs: dict[str, Callable[[], int | None]] = {}


def declare_settings() -> None:
    declare(
        Setting(DAYS, "integer", 90, "events", "How many days the event log goes back.", least=1, most=MAX_DAYS),
        Setting(ROWS, "integer", 1_000_000, "events", "How many events the log keeps at most.", least=1),
    )


def keep_from(name: str, first_needed: Callable[[], int | None]) -> None:
    """Have the log keep what is still needed: ``first_needed`` answers the lowest id, None where nothing is."""
    _needs[name] = first_needed


def needs() -> dict[str, int | None]:
    """The first event that each of those who read the log still needs; None where it needs none."""
    return {name: first() for name, first in _needs.items()}


@dataclass(frozen=True, slots=True)
class Limits:
    days: int
    rows: int

    @classmethod
    def set(cls) -> Limits:
        """Those that the settings say."""
        return cls(values.get(DAYS), values.get(ROWS))

    def doubled(self) -> Limits:
        return Limits(self.days * PATIENCE, self.rows * PATIENCE)

    def cut(self, after: int, end: int, newest: int) -> int:
        """The last of the events from ``after`` to ``end`` that has to go; ``after`` where none has.

        Only the front goes: one that is too old and stands behind a younger one, by another
        machine's clock, waits for that. Ids are given one by one, so they count rows.
        """
        dialect = dialects.current()
        oldest_kept = clock.now() - timedelta(days=min(self.days, MAX_DAYS * PATIENCE))
        mark = dialect.placeholder
        too_many = max(after, min(end, newest - self.rows))
        young = dialect.rows(
            f"SELECT id FROM events WHERE id > {mark} AND id <= {mark} AND timestamp >= {mark} ORDER BY id LIMIT 1",
            [too_many, end, dialect.moment(oldest_kept)],
        )
        return int(young[0][0]) - 1 if young else max(after, end)


def trim(limits: Limits | None = None, *, dry_run: bool = False) -> int:
    """Delete what is beyond the limits, a small transaction at a time; answers how many rows.

    What is being written meanwhile gets its turn; ends early when the process does.
    """
    limits = limits or Limits.set()
    needs = _Needs()
    deleted, size, after = 0, FEWEST, _trimmed_through()
    while not background.is_ending():
        began = monotonic()
        with transaction.atomic():
            if not dry_run:
                after = _locked_state().trimmed_through
            end, is_last = _end_of_batch(after, size)
            through = _cut(limits, needs, after, end)
            deleted += _count(after, through) if dry_run else _delete(after, through)
        after = through
        if is_last or through < end:
            break
        took = monotonic() - began
        size = max(FEWEST, min(MOST, int(size * LOCKED_SECONDS / max(took, 0.001))))
        if not dry_run:
            sleep(min(took, 1.0))
    if deleted and not dry_run:
        logger.info("%d events were trimmed from the log", deleted)
        if needs.first is not None and after >= needs.first:
            logger.error(
                "%s still needs events from %d on; the log had become twice as long as %s and %s say, and was cut",
                needs.name, needs.first, DAYS, ROWS,
            )  # fmt: skip
    return deleted


class _Needs:
    """What somebody needs at the moment, asked once."""

    def __init__(self) -> None:
        needed = {name: first for name, first in needs().items() if first is not None}
        self.name = min(needed, key=lambda name: needed[name], default="")
        self.first = needed.get(self.name)


def _cut(limits: Limits, needs: _Needs, after: int, end: int) -> int:
    newest = events.settled_id()
    through = limits.cut(after, end, newest)
    if needs.first is None or through < needs.first:
        return through
    return limits.doubled().cut(max(after, needs.first - 1), end, newest)


def _end_of_batch(after: int, size: int) -> tuple[int, bool]:
    """Up to where one transaction may delete, and whether that is the end: the newest stays, and what follows
    an event that is still being written."""
    dialect = dialects.current()
    mark = dialect.placeholder
    last = events.settled_id() - 1
    rows = dialect.rows(
        f"SELECT id FROM events WHERE id > {mark} AND id <= {mark} ORDER BY id LIMIT 1 OFFSET {size - 1}", [after, last]
    )
    return (rows[0][0], False) if rows else (max(after, last), True)


def _trimmed_through() -> int:
    state = EventLogState.objects.first()
    return state.trimmed_through if state else 0


def _locked_state() -> EventLogState:
    """Held until the end of the transaction: one trims at a time."""
    return EventLogState.objects.select_for_update().get_or_create(pk=1)[0]


def _count(after: int, through: int) -> int:
    mark = dialects.current().placeholder
    sql = f"SELECT count(*) FROM events WHERE id > {mark} AND id <= {mark}"
    return int(dialects.current().rows(sql, [after, through])[0][0])


def _delete(after: int, through: int) -> int:
    if through <= after:
        return 0
    mark = dialects.current().placeholder
    sql = f"DELETE FROM events WHERE id > {mark} AND id <= {mark}"
    deleted: int = dialects.current().execute(sql, [after, through]).rowcount
    if deleted:
        EventLogState.objects.filter(pk=1).update(trimmed_through=through)
    return deleted
