"""Deliveries that are done go after a while."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q

from core import background, clock
from webhooks.models import Delivery

TASK = "webhooks.sweep"
KEPT = timedelta(days=30)
BATCH = 1000  # rows of one statement: nobody waits long for the lock
_INTERRUPTED = timedelta(minutes=5)


def sweep() -> int:
    """Delete the deliveries of more than 30 days ago; answers how many.

    Those that still wait are kept, unless their webhook has been switched off all that time. A test
    whose process died while it was sent is given up.
    """
    now = clock.now()
    Delivery.objects.filter(event_id=0, status=Delivery.Status.SENDING, created__lt=now - _INTERRUPTED).update(
        status=Delivery.Status.FAILED, error="interrupted", finished=now
    )
    old = Q(next_attempt_at=None) | Q(webhook__active=False, webhook__updated__lt=now - KEPT)
    deleted, last = 0, 0
    while not background.is_ending():
        page = Delivery.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "created")[:BATCH]
        due = [pk for pk, created in page if created < now - KEPT]
        if due:
            deleted += Delivery.objects.filter(old, pk__in=due).delete()[0]
            last = due[-1]
        if len(due) < BATCH:
            break
    return deleted
