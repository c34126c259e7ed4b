"""Deliveries that nobody would ever send, or send again, and events that would never become any."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from django.db.models import QuerySet

from collections_app.models import Event, EventLogState
from core import clock
from core.consistency import Problem
from webhooks.models import Delivery, Progress

Status = Delivery.Status


def check() -> Iterator[Problem]:
    stuck = Delivery.objects.filter(status__in=(Status.PENDING, Status.SENDING), next_attempt_at=None)
    if number := stuck.count():
        yield Problem(f"Webhook deliveries that have no next attempt, and no end: {number}.", partial(_call, stuck))
    over = Delivery.objects.filter(status__in=(Status.DELIVERED, Status.FAILED)).exclude(next_attempt_at=None)
    if number := over.count():
        yield Problem(f"Webhook deliveries that are over, but have a next attempt: {number}.", partial(_end, over))
    last = Event.objects.order_by("-id").values_list("id", flat=True).first()
    state = EventLogState.objects.filter(pk=1).first()
    known = max(last or 0, state.trimmed_through if state else 0, state.begins_after if state else 0)
    if ahead := Progress.objects.filter(event_id__gt=known).first():
        yield Problem(
            f"Webhooks have been told of events up to {ahead.event_id}, but the log ends with {known}: "
            "the next events would not be delivered.",
            partial(Progress.objects.filter(pk=ahead.pk).update, event_id=known),
        )


def _call(stuck: QuerySet[Delivery]) -> None:
    stuck.update(next_attempt_at=clock.now())


def _end(over: QuerySet[Delivery]) -> None:
    over.update(next_attempt_at=None)
