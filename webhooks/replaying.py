"""Events are sent again: as deliveries of their own, under the same ``webhook-id``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import models, transaction

from collections_app import events
from collections_app.events import Logged
from core import background, clock
from core.errors import Conflict
from webhooks import payload, planning
from webhooks.models import NAMES, Delivery, Webhook

PAGE = 500
_INACTIVE = "The webhook is switched off. Switch it on first."


def replay(delivery: Delivery) -> Delivery:
    """Send the delivery's event again, now; answers the new delivery.

    Conflict where the webhook is switched off, the event is not in the log any more, or it was a test.
    """
    if delivery.event == payload.TEST:
        raise Conflict("A test is not sent again. Send another one.")
    with transaction.atomic():
        webhook = _locked(delivery.webhook)
        found = events.find([delivery.event_id])
        if not found:
            raise Conflict("The event is not in the log any more.")
        # It comes after those of its record that still wait, so they are to wait no longer.
        waiting = webhook.deliveries.filter(
            record_id=delivery.record_id, status=Delivery.Status.PENDING, next_attempt_at__isnull=False
        )
        waiting.update(next_attempt_at=clock.now())
        (again,) = _again(webhook, [found[delivery.event_id]])
        transaction.on_commit(_wake)
    return again


def replay_since(webhook: Webhook, moment: datetime) -> int:
    """Send again all that the webhook is to be told of and that happened at ``moment`` or later; answers how much.

    What happened while it was switched off is sent for the first time; what still waits is not doubled.
    Conflict where it is switched off.
    """
    _locked_or_conflict(webhook)
    first = events.first_since(webhook.collection_id, moment)
    if first is None:
        return 0
    after, through, count = first - 1, events.settled_id(), 0
    while page := events.read(after, PAGE, through):
        after = page[-1].id
        with transaction.atomic():
            current = _locked(webhook)
            wanted = [
                event
                for event in page
                if event.collection_id == current.collection_id
                and NAMES.get(event.type) in current.events
                and event.timestamp >= moment
            ]
            under_way = current.deliveries.filter(
                event_id__in=[event.id for event in wanted], next_attempt_at__isnull=False
            )
            doubled = set(under_way.values_list("event_id", flat=True))
            count += len(_again(current, [event for event in wanted if event.id not in doubled]))
    if count:
        _wake()
    return count


def _locked_or_conflict(webhook: Webhook) -> None:
    with transaction.atomic():
        _locked(webhook)


def _locked(webhook: Webhook) -> Webhook:
    """The webhook as it is now, held until the end of the transaction; Conflict where it is switched off."""
    found = Webhook.objects.select_for_update().filter(pk=webhook.pk, active=True).first()
    if found is None:
        raise Conflict(_INACTIVE)
    return found


def _again(webhook: Webhook, wanted: Sequence[Logged]) -> list[Delivery]:
    past = dict(
        webhook.deliveries.filter(event_id__in=[event.id for event in wanted])
        .values_list("event_id")
        .annotate(models.Max("replay"))
        .order_by()
    )
    return Delivery.objects.bulk_create(
        Delivery(
            webhook=webhook,
            event_id=event.id,
            event=NAMES[event.type],
            record_id=event.record_id,
            replay=past.get(event.id, -1) + 1,
        )
        for event in wanted
    )


def _wake() -> None:
    planning.news.set()
    background.wake(planning.TASK)
