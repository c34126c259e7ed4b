"""Backups by the clock: when the next one is due, by the setting ``backup_schedule``, and how many stay."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Max

from backups import services
from backups.models import Backup
from core import clock
from core.errors import Conflict, DomainError
from settings_app import values
from settings_app.registry import Setting, declare

if TYPE_CHECKING:
    from celery.schedules import crontab

SCHEDULE, KEEP = "backup_schedule", "backup_keep"
BY = "schedule"
EVERY = 30.0  # seconds between two looks

logger = logging.getLogger("fastcms.backups")


def declare_settings() -> None:
    declare(
        Setting(
            SCHEDULE,
            "string",
            "",
            "backups",
            "When backups are made by themselves, as in a crontab (UTC), such as 0 2 * * *; empty for never.",
            check=problem,
        ),
        Setting(
            KEEP,
            "integer",
            7,
            "backups",
            "How many backups of the schedule are kept, the newest ones; 0 for all.",
            least=0,
            most=10_000,
        ),
    )


def problem(text: str) -> str:
    """What is wrong with a text as a schedule; empty where nothing is."""
    if text.strip():
        try:
            _crontab(text)
        except ValueError:
            return "Write five fields as in a crontab: minute, hour, day of month, month, day of week: 0 2 * * *"
    return ""


def make_due() -> None:
    """Make the backup that the schedule wants now, if it does: one, however many of its times were missed.

    Two processes may find it due: the one that is later finds that it has been made.
    """
    last = _last()
    if last is None or not is_due(values.get(SCHEDULE), last):
        return
    try:
        services.create_scheduled(BY, last)
    except Conflict:
        pass  # somebody makes one: the next look is soon
    except DomainError as fault:
        logger.error("the backup of the schedule was not made: %s", fault.message)


def keep_newest() -> None:
    """Delete what the schedule has made and is too old to be kept."""
    count = values.get(KEEP)
    if count:
        services.keep(count, Backup.Origin.SCHEDULE, BY)


def is_due(text: str, last: datetime) -> bool:
    """Whether a time of the schedule has come since ``last``."""
    try:
        return bool(text.strip()) and bool(_crontab(text).is_due(last).is_due)
    except ValueError as fault:
        logger.error("the setting %s can't be read: %s", SCHEDULE, fault)
        return False


def _last() -> datetime | None:
    """Since when the next backup may have become due: the last try, or when the schedule was set."""
    entry = values.find(SCHEDULE)
    if not entry.value or entry.updated_at is None:
        return None
    begun = Backup.objects.filter(origin=Backup.Origin.SCHEDULE).aggregate(last=Max("begun"))["last"]
    return max(begun, entry.updated_at) if begun else entry.updated_at


def _crontab(text: str) -> crontab:
    """ValueError for what is none."""
    from celery.schedules import ParseException, crontab  # 5 MB

    try:
        found = crontab.from_string(" ".join(text.split()))
        found.nowfun = clock.now
        found.is_due(clock.now())  # RuntimeError for a day that never comes
    except (ParseException, RuntimeError) as fault:
        raise ValueError(str(fault)) from fault
    return found
