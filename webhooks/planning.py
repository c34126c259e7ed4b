"""From the event log to deliveries: a row for each event that a webhook is to be told of.

The log is read from where :class:`Progress` stands, and rows and progress are written in
one transaction, so every event is looked at once, whoever does it and whoever dies over it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.db import DatabaseError, models, transaction

from collections_app import events
from collections_app.schema import registry
from core import background
from webhooks import payload as payloads
from webhooks.models import NAMES, Delivery, Progress, Webhook

logger = logging.getLogger("fastcms.webhooks")

TASK = "webhooks.deliver"
PAGE = 1000  # events of one transaction
ROWS = 1000  # deliveries of one transaction, about: nobody waits long for the lock
_KNOWN_SECONDS = 5.0

# Set when there are new events: whoever sends at the moment need not wait for the next round.
news = threading.Event()


def make_deliveries() -> int:
    """Write down who is to be told of what has happened since the last time; answers how many deliveries."""
    made = 0
    while True:
        webhooks = list(Webhook.objects.all())
        _whether.is_known(bool(webhooks))
        if not webhooks or _position(webhooks, Progress.objects.first()) >= events.settled_id():
            return made
        with transaction.atomic():
            count, is_end = _make_page(_locked_progress())
        made += count
        if is_end or background.is_ending():
            return made


def needed_from() -> int | None:
    """The lowest event that is still to be looked at or sent; None where nobody waits for any."""
    webhooks = list(Webhook.objects.all())
    if not webhooks:
        return None
    undone = Delivery.objects.filter(next_attempt_at__isnull=False, event_id__gt=0)
    lowest: int | None = undone.aggregate(lowest=models.Min("event_id"))["lowest"]
    unread = _position(webhooks, Progress.objects.first()) + 1
    return unread if lowest is None else min(lowest, unread)


def payload(delivery: Delivery) -> dict[str, Any] | None:
    """What the delivery says, were it sent now; None where the log does not have its event any more."""
    collection = registry.latest().by_id.get(delivery.webhook.collection_id)
    if collection is None:
        return None
    if delivery.event == payloads.TEST:
        return payloads.payload_of_test(collection, delivery.created)
    found = events.find([delivery.event_id])
    return payloads.payload(found[delivery.event_id], collection) if found else None


def wake(**_: Any) -> None:
    """Receiver of ``events.appended``, in the thread that has just committed: costs next to nothing
    while there is no webhook."""
    if _whether.there_is_one():
        news.set()
        background.wake(TASK)


def expect(**_: Any) -> None:
    """Receiver: a webhook was saved in this process, so events are somebody's affair from now on."""
    _whether.is_known(True)


class _Whether:
    """Whether there is any webhook, as far as this process knows: asked at most every few seconds."""

    def __init__(self) -> None:
        self._answer, self._until = True, 0.0

    def is_known(self, answer: bool) -> None:
        self._answer, self._until = answer, monotonic() + _KNOWN_SECONDS

    def there_is_one(self) -> bool:
        if monotonic() > self._until:
            try:
                self.is_known(Webhook.objects.exists())
            except DatabaseError as fault:  # other listeners are to be told all the same
                logger.warning("whether there is a webhook is not known: %s", fault)
                return True
        return self._answer


_whether = _Whether()


def _locked_progress() -> Progress:
    Progress.objects.get_or_create(pk=1)
    return Progress.objects.select_for_update().get()


def _position(webhooks: Sequence[Webhook], progress: Progress | None) -> int:
    """The event up to which there is nothing left to do: what came before the first webhook is nobody's affair."""
    return max(progress.event_id if progress else 0, min(webhook.after_event for webhook in webhooks))


def _make_page(progress: Progress) -> tuple[int, bool]:
    """The deliveries of the next events; answers how many, and whether these were the last."""
    # First: whoever is not among the webhooks then wants none of what has happened by now.
    through = events.settled_id()
    webhooks = list(Webhook.objects.all())
    if not webhooks:
        return 0, True
    before = _position(webhooks, progress)
    if not events.reaches_back_to(before):
        logger.warning("events after %d were trimmed from the log before webhooks were told of them", before)
    told: dict[tuple[str, str], list[Webhook]] = {}
    for webhook in webhooks:
        for name in webhook.events if webhook.active else ():
            told.setdefault((webhook.collection_id, name), []).append(webhook)
    page = events.read(before, PAGE, through)
    rows: list[Delivery] = []
    looked_at, gone = before, []
    for event in page:
        name = NAMES.get(event.type)
        if name is not None:
            rows += [
                Delivery(webhook=webhook, event_id=event.id, event=name, record_id=event.record_id)
                for webhook in told.get((event.collection_id, name), ())
                if webhook.after_event < event.id
            ]
        elif event.type == "collection.deleted":
            gone.append(event.collection_id)
        looked_at = event.id
        if len(rows) >= ROWS:
            break
    Delivery.objects.bulk_create(rows, batch_size=ROWS, ignore_conflicts=True)
    if gone:
        Webhook.objects.filter(collection_id__in=gone).delete()
    progress.event_id = looked_at
    progress.save(update_fields=["event_id"])
    return len(rows), len(page) < PAGE and (not page or looked_at == page[-1].id)
