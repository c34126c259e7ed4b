"""What Celery's workers do for webhooks."""

from __future__ import annotations

from celery import shared_task

from core import background
from webhooks import planning, sending, sweeping

SECONDS = 10.0  # that one call goes on; then it is the turn of other tasks, or the worker can be asked to leave


@shared_task(name=planning.TASK)
def deliver() -> int:
    """Send the deliveries that are due."""
    delivered = sending.send_due(SECONDS)
    if sending.has_more():
        background.wake(planning.TASK)
    return delivered


@shared_task(name=sweeping.TASK)
def sweep() -> int:
    """Delete old deliveries."""
    return sweeping.sweep()
