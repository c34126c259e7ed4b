"""Which deliveries are due, and whose they are to send.

A claim is a lease: the row says until when nobody else may send it. One whose lease has lapsed
(its sender has died) is due like any other, and is claimed under the same attempt's number.

Deliveries of one record are sent in their order. One that is not the first of its record is put off
until the first will have been tried; whoever finishes that one calls the next (:func:`release`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, When

from core import clock
from webhooks.models import MAX_RETRIES, Delivery, Webhook

LEASE = timedelta(seconds=60)  # longer than a request may take
RECHECK = timedelta(seconds=5)  # of what waits for a delivery that is being sent, should nobody call it
_LOOK_AT = 32  # rows at least, for some may have to wait
_LOOKS = 20
_RETRIES = tuple(range(1, MAX_RETRIES + 2))

Record = tuple[UUID, str]  # a webhook's, by its id


@dataclass(frozen=True, slots=True)
class Hungry:
    """An active webhook that has something due: what was begun before (``again``), or not yet (``first``)."""

    webhook: Webhook
    first: bool
    again: bool


def hungry(full: Collection[UUID]) -> list[Hungry]:
    """Those that have something due, but for those that have enough under way."""
    due = Delivery.objects.filter(webhook=OuterRef("pk"), next_attempt_at__lte=clock.now())
    found = (
        Webhook.objects.filter(active=True)
        .exclude(pk__in=full)
        .annotate(first=Exists(due.filter(attempt=0)), again=Exists(due.filter(attempt__in=_RETRIES)))
        .filter(Q(first=True) | Q(again=True))
    )
    return [Hungry(webhook, webhook.first, webhook.again) for webhook in found]


def claim(one: Hungry, room: int) -> tuple[list[Delivery], set[Record]]:
    """At most ``room`` deliveries for the caller to :func:`lease`; and the records of which others wait.

    Those that were begun before come first: a long queue must not keep them from their schedule.
    Inside a transaction, of which the lease is part.
    """
    now = clock.now()
    claimed: list[Delivery] = []
    waiting: set[Record] = set()
    look_at = max(_LOOK_AT, room)
    webhook, begun, new = one.webhook, _RETRIES if one.again else (), (0,) if one.first else ()
    for attempts in filter(None, (begun, new)):
        for _ in range(_LOOKS):
            if len(claimed) >= room:
                return claimed, waiting
            found = _due(webhook, attempts, now, look_at, claimed)
            claimed += [row for row in found if row.first is None][: room - len(claimed)]
            late = {row.record_id: row.first for row in found if row.first is not None}
            if late:
                _put_off(webhook, late, now)
                waiting |= {(webhook.pk, record_id) for record_id in late}
            if len(found) < look_at:
                break
    return claimed, waiting


def lease(claimed: Sequence[Delivery]) -> None:
    """They are the caller's now."""
    if not claimed:
        return
    until = clock.now() + LEASE
    is_same_attempt = When(status=Delivery.Status.SENDING, then=F("attempt"))
    Delivery.objects.filter(pk__in=[row.pk for row in claimed]).update(
        attempt=Case(is_same_attempt, default=F("attempt") + 1),
        status=Delivery.Status.SENDING,
        next_attempt_at=until,
    )
    for row in claimed:
        row.attempt += row.status != Delivery.Status.SENDING
        row.status, row.next_attempt_at = Delivery.Status.SENDING, until


def release(delivery: Delivery) -> bool:
    """The delivery is done, and the next one of its record is due; answers whether there is one."""
    rest = _undone(delivery.webhook_id, delivery.record_id).filter(pk__gt=delivery.pk)
    following = rest.order_by("pk").first()
    if following is not None:
        rest.filter(pk=following.pk, status=Delivery.Status.PENDING).update(next_attempt_at=clock.now())
    return following is not None


def give_back(deliveries: Collection[Delivery]) -> None:
    """What was claimed and is not sent to its end is anybody's again, at once, as the same attempt."""
    for delivery in deliveries:
        leased(delivery).update(
            status=Delivery.Status.PENDING, attempt=delivery.attempt - 1, next_attempt_at=clock.now()
        )


def leased(delivery: Delivery) -> models.QuerySet[Delivery]:
    """The row, while it is still claimed as it was; none when somebody else has it."""
    return Delivery.objects.filter(
        pk=delivery.pk,
        status=Delivery.Status.SENDING,
        attempt=delivery.attempt,
        next_attempt_at=delivery.next_attempt_at,
    )


def _undone(webhook: Any, record_id: Any) -> models.QuerySet[Delivery]:
    return Delivery.objects.filter(webhook=webhook, record_id=record_id, next_attempt_at__isnull=False)


def _due(webhook: Webhook, attempts: tuple[int, ...], now: datetime, most: int, but: Sequence[Delivery]) -> list[Any]:
    """What is due, each with the id of the delivery of its record that is to be ``first``.

    Locked; what somebody else has locked is theirs.
    """
    earlier = _undone(webhook.pk, OuterRef("record_id")).filter(pk__lt=OuterRef("pk")).order_by("pk")
    rows = Delivery.objects.exclude(pk__in=[row.pk for row in but]) if but else Delivery.objects
    return list(
        rows.select_for_update(skip_locked=True, of=("self",))
        .filter(webhook=webhook, attempt__in=attempts, next_attempt_at__lte=now)
        .annotate(first=Subquery(earlier.values("pk")[:1]))
        .order_by("next_attempt_at", "pk")[:most]
    )


def _put_off(webhook: Webhook, late: dict[str, int], now: datetime) -> None:
    """Let all that waits for those that are ``first`` (by record) wait as long as they do.

    What somebody else has locked is left to them: two senders must not wait for each other.
    """
    firsts = Delivery.objects.in_bulk(list(late.values()))
    for record_id, pk in late.items():
        first = firsts.get(pk)
        until = now + RECHECK
        if first is not None and first.status == Delivery.Status.PENDING and first.next_attempt_at is not None:
            until = max(first.next_attempt_at, until)
        waiting = _undone(webhook.pk, record_id).filter(
            pk__gt=pk, status=Delivery.Status.PENDING, next_attempt_at__lte=now
        )
        free = waiting.select_for_update(skip_locked=True).values("pk")
        Delivery.objects.filter(pk__in=free).update(next_attempt_at=until)
