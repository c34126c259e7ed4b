"""What backups there are."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from backups import services
from backups.models import Backup
from core import clock
from core.errors import NotFound

MISSING = "There is no such backup."


def backups(*, deleted: bool = False) -> QuerySet[Backup]:
    """Those that there are, the newest first; or those that were deleted lately.

    What is in the storage is looked up first, and who died over one is found out.
    """
    services.tidy_rows()
    if deleted:
        return Backup.objects.exclude(deleted=None).order_by("-deleted", "-id")
    return Backup.objects.filter(deleted=None)


def counts() -> dict[tuple[str, ...], float]:
    """How many there are, by status; those that were deleted are none."""
    found = Backup.objects.filter(deleted=None).order_by().values_list("status").annotate(Count("pk"))
    return {(status,): 0.0 for status in Backup.Status.values} | {(status,): float(count) for status, count in found}


def age() -> dict[tuple[str, ...], float]:
    """How many seconds ago the instant of the newest was; nothing where there is none."""
    newest = Backup.objects.filter(deleted=None, status=Backup.Status.COMPLETED).first()
    return {(): (clock.now() - newest.created).total_seconds()} if newest else {}


def backup(which: str) -> Backup:
    """One by its id or its file name; NotFound where there is none."""
    found = backups().filter(Q(pk=which) | Q(filename=which)).first() if "\x00" not in which else None
    if found is None:
        raise NotFound(MISSING)
    return found
