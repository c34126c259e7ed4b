"""What webhooks there are, and what became of what they were to be told.

A webhook whose collection is gone is gone too, for everybody who asks here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import models

from collections_app.schema import registry
from core.errors import NotFound
from webhooks.models import Delivery, Webhook

_MAX_ID = 2**63 - 1


def webhooks(collection: str | None = None, active: bool | None = None) -> list[tuple[Webhook, str]]:
    """All of them, the oldest first, each with its collection's name; or those of one collection, given by name
    or id.
    """
    snapshot = registry.latest()
    rows = Webhook.objects.all()
    if collection is not None:
        found = snapshot.by_name.get(collection) or snapshot.by_id.get(collection)
        rows = rows.filter(collection_id=found.id) if found else rows.none()
    if active is not None:
        rows = rows.filter(active=active)
    known = snapshot.by_id
    return [(row, known[row.collection_id].name) for row in rows if row.collection_id in known]


def webhook(webhook_id: str, *, locked: bool = False) -> Webhook:
    """One of them; NotFound where there is none. ``locked``: until the end of the transaction under way."""
    try:
        wanted = uuid.UUID(webhook_id)
    except ValueError as fault:
        raise NotFound("Webhook not found") from fault
    rows = Webhook.objects.select_for_update() if locked else Webhook.objects
    found = rows.filter(pk=wanted).first()
    if found is None or found.collection_id not in registry.latest().by_id:
        raise NotFound("Webhook not found")
    return found


def collection_name(webhook: Webhook) -> str:
    """What its collection is called now."""
    return registry.latest().get(webhook.collection_id).name


def deliveries(
    webhook: Webhook, *, status: str | None = None, event: str | None = None, since: datetime | None = None
) -> models.QuerySet[Delivery]:
    """What it was or is to be told, the newest first."""
    found = webhook.deliveries.order_by("-pk")
    if status is not None:
        found = found.filter(status=status)
    if event is not None:
        found = found.filter(event=event)
    return found if since is None else found.filter(created__gte=since)


def delivery(webhook: Webhook, delivery_id: str) -> Delivery:
    """One delivery of this webhook; NotFound where it has no such."""
    if delivery_id.isascii() and delivery_id.isdecimal() and len(delivery_id) < 20 and int(delivery_id) <= _MAX_ID:
        found = webhook.deliveries.filter(pk=int(delivery_id)).first()
        if found is not None:
            return found
    raise NotFound("Delivery not found")


def counts(webhooks: Sequence[Webhook]) -> dict[uuid.UUID, dict[str, int]]:
    """How many deliveries of each status they have."""
    found: dict[uuid.UUID, dict[str, int]] = {}
    rows = Delivery.objects.filter(webhook__in=webhooks).values_list("webhook_id", "status").order_by()
    for webhook_id, status, number in rows.annotate(models.Count("pk")):
        found.setdefault(webhook_id, {})[status] = number
    return found
