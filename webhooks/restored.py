"""Webhooks in a database that was put back: what was told once is not told again."""

from __future__ import annotations

from typing import Any

from collections_app import events
from core import clock
from core.restored import Restoration
from webhooks.models import Delivery, Progress

NOT_SENT = "Not sent: the database was restored from a backup, and this may have been delivered before. Replay it."


def settle(restoration: Restoration, present: Any) -> None:
    """End the deliveries that were under way, and go on from the end of the restored log."""
    Delivery.objects.filter(next_attempt_at__isnull=False).update(
        status=Delivery.Status.FAILED, next_attempt_at=None, finished=clock.now(), error=NOT_SENT
    )
    Progress.objects.update_or_create(pk=1, defaults={"event_id": events.settled_id()})
