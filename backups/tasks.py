"""What Celery's workers do for backups."""

from __future__ import annotations

from celery import shared_task

from backups import leasing, schedule, services


@shared_task(name=services.TASK)
def make() -> None:
    """Make what was asked for, and what is due by the schedule."""
    leasing.settle()
    services.make_waiting()
    schedule.make_due()
    schedule.keep_newest()


@shared_task(name=services.TIDYING)
def tidy() -> None:
    """Remove what is left over, and see what archives there are."""
    services.tidy()
