"""What Celery's workers do for accounts."""

from __future__ import annotations

from celery import shared_task

from accounts import mailing


@shared_task(name=mailing.TASK)
def send_mails() -> int:
    """Send the mails that are due."""
    return mailing.send_due()
