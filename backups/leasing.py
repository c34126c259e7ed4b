"""One backup at a time, over all processes and machines: the row that is running is the lease.

Whoever works at it renews the lease by a thread, however long a step takes. One that died lets it end, and
its row fails; one that was only held up learns that the lease is no longer its own before it gives
anything a name.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from backups import storage
from backups.models import Backup
from core import background, clock, database
from core.errors import Conflict, ServiceUnavailable
from core.restored import Restoration

LEASE = timedelta(seconds=60)
RENEWED = 2.0  # seconds between two renewals
WAITING = timedelta(minutes=15)  # that one which was asked for waits for somebody to begin
INTERRUPTED = "It was interrupted: the process that made it died, or lost the database."
NOBODY = "Nobody began it: no server or worker was running."

logger = logging.getLogger("fastcms.backups")
Status = Backup.Status


class Lost(ServiceUnavailable):
    default_message = "The backup took no lease in time, and somebody else may be making one. Please try again."


class Ending(ServiceUnavailable):
    default_message = "The server is stopping; the backup was not made."


class Lease:
    """A backup that this process works at."""

    def __init__(self, backup: Backup, *, yields: bool, report: Callable[[int], None] | None = None) -> None:
        self.backup = backup
        self.percent = 0
        self._yields = yields  # to a process that is about to end
        self._report = report
        self._is_lost = False

    def reach(self, share: float) -> None:
        """So much is done, 0 to 1. Raises Lost, Ending where there is no point in going on."""
        percent = int(share * 100)
        if percent != self.percent and self._report is not None:
            self._report(percent)
        self.percent = percent
        if self._is_lost:
            raise Lost
        if self._yields and background.is_ending():
            raise Ending

    def give_up(self) -> None:
        """End the work at its next step."""
        self._is_lost = True

    def renew(self) -> None:
        """Raises Lost where the lease has ended, or the row is no more."""
        now = clock.now()
        held = Backup.objects.filter(
            pk=self.backup.pk, status=Status.RUNNING, begun=self.backup.begun, lease_until__gt=now
        )
        if not held.update(lease_until=now + LEASE, percent=min(self.percent, 99)):
            self._is_lost = True
            raise Lost


def claim(backup: Backup, to: Path | None = None) -> None:
    """Make the row of a backup that is to be made, as ``backup.begun`` says here and now, or by whoever comes.

    Its name gets a number where it is taken, in the storage or in the folder ``to``. Conflict while there is another.
    """
    settle()
    backup.lease_until = clock.now() + (LEASE if backup.begun else WAITING)
    stem, suffix = backup.filename.split(".", 1)
    number = 1
    while True:
        backup.filename = f"{stem}.{suffix}" if number == 1 else f"{stem}_{number}.{suffix}"
        number += 1
        if Backup.objects.filter(filename=backup.filename, deleted=None).exists():
            continue
        if (to / backup.filename).exists() if to else storage.size(backup.filename) is not None:
            continue
        try:
            with transaction.atomic():
                backup.save(force_insert=True)
            return
        except IntegrityError as fault:
            other = under_way()
            if other is not None:
                since = clock.isoformat(other.created.replace(microsecond=0))
                raise Conflict(f"Another backup is being made since {since}. Try again when it is done.") from fault


def begin(backup: Backup) -> bool:
    """Take on one that waits; False where somebody else has."""
    now = clock.now()
    waiting = Backup.objects.filter(pk=backup.pk, status=Status.RUNNING, begun=None)
    if not waiting.update(begun=now, lease_until=now + LEASE):
        return False
    backup.begun, backup.lease_until = now, now + LEASE
    return True


def give_back(backup: Backup) -> None:
    """It is not finished, and whoever comes next is to begin it anew."""
    Backup.objects.filter(pk=backup.pk, status=Status.RUNNING, begun=backup.begun).update(
        begun=None, percent=0, lease_until=clock.now() + WAITING
    )


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """The lease is renewed until the end of the block."""
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=[lease, over], name="backup lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def under_way() -> Backup | None:
    """The one that is being made, or waits for that."""
    return Backup.objects.filter(status=Status.RUNNING).first()


def is_copying() -> bool:
    """Whether somebody copies files now, whose bytes must stay."""
    return Backup.objects.filter(status=Status.RUNNING, begun__isnull=False, lease_until__gt=clock.now()).exists()


def settle() -> None:
    """What somebody died over has failed, or is complete where its archive had its name already."""
    for row in Backup.objects.filter(status=Status.RUNNING, lease_until__lte=clock.now()):
        came: dict[str, object] = {"status": Status.FAILED, "error": INTERRUPTED if row.begun else NOBODY}
        size = storage.size(row.filename) if row.begun else None
        if size is not None:
            came = {"status": Status.COMPLETED, "size_bytes": size, "percent": 100}
        Backup.objects.filter(pk=row.pk, status=Status.RUNNING, lease_until=row.lease_until).update(
            **came, finished=clock.now(), lease_until=None
        )


def present() -> list[dict[str, Any]]:
    """The rows of the archives that there are, as JSON: a restore does not change what there is in the storage."""
    rows = Backup.objects.filter(status=Status.COMPLETED, deleted=None).order_by("created").values()
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def end_all(restoration: Restoration, present: list[dict[str, Any]] | None) -> None:
    """In a database that was put back: nobody works at what was being made when the backup was, itself among it.

    Archives that are there are told of as they were before: by whom and when they were made.
    """
    for row in present or ():
        if Backup.objects.filter(pk=row["id"]).update(**row):
            continue
        if not Backup.objects.filter(filename=row["filename"], deleted=None).exists():
            Backup.objects.create(**row)
    Backup.objects.filter(status=Status.RUNNING).update(lease_until=clock.now())


def _renew(lease: Lease, over: threading.Event) -> None:
    try:
        while not over.wait(RENEWED):
            try:
                lease.renew()
            except Lost:
                return
            except DatabaseError as fault:  # busy or away: there is time for another try
                logger.warning("the lease of a backup could not be renewed yet: %s", fault)
    finally:
        database.close()
