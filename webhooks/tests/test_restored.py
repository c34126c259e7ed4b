"""A database that is put back to an earlier state, as receivers see it."""

from __future__ import annotations

from typing import Any

import pytest

from core import restored
from core.restored import Restoration
from webhooks import planning, services
from webhooks.models import Delivery, Webhook

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]


def test_no_webhook_is_told_again(make_collection: Any, records: Any, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    make_collection("notes", title="text")
    webhook = services.webhook_create(
        url="http://127.0.0.1:9/x", collection="notes", events_wanted=["create"], retry_count=3
    )
    records("notes").create(title="planned")
    assert planning.make_deliveries() == 1
    records("notes").create(title="not planned yet")
    restored.settle(Restoration("restore1", "users:somebody"))
    assert planning.make_deliveries() == 0
    ended = Delivery.objects.get()
    assert (ended.status, ended.next_attempt_at) == ("failed", None) and "restored" in ended.error
    records("notes").create(title="new")
    assert planning.make_deliveries() == 1
    assert Webhook.objects.get(pk=webhook.pk).active
