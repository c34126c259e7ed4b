"""What backups there are."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from backups import services
from backups.models import Backup
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


def backup(which: str) -> Backup:
    """One by its id or its file name; NotFound where there is none."""
    found = backups().filter(Q(pk=which) | Q(filename=which)).first() if "\x00" not in which else None
    if found is None:
        raise NotFound(MISSING)
    return found
