"""What Celery's workers do for accounts."""

from __future__ import annotations

from celery import shared_task

from accounts import mailing, sweeping


@shared_task(name=mailing.TASK)
def send_mails() -> int:
    """Send the mails that are due."""
    return mailing.send_due()


@shared_task(name=sweeping.TASK)
def sweep() -> int:
    """Delete what has expired."""
    return sweeping.sweep()
