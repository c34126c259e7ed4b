"""Who is told of changes, what is to be told, and how far the log has been read for it."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from core import clock

EVENTS = {"create": "record.created", "update": "record.updated", "delete": "record.deleted"}
NAMES = {kind: name for name, kind in EVENTS.items()}
MAX_RETRIES = 5


class Webhook(models.Model):
    """An address that is told of the changes in one collection.

    ``after_event`` is the last event of the log when it was made: what came before is not its affair.
    Secrets are kept encrypted (``core.secret_box``); the one before the last is good until
    ``previous_secret_until``, so that receivers can follow a rotation.
    """

    class Ended(models.TextChoices):
        """Why we stopped sending."""

        FAILED = "failed", "all attempts failed"
        GONE = "gone", "the address answered 410 Gone"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.CharField(max_length=2000)
    collection_id = models.CharField(max_length=32, db_index=True)
    events: Any = models.JSONField()
    active = models.BooleanField(default=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True, default="")
    retry_count = models.PositiveSmallIntegerField(default=3)
    secret = models.TextField(blank=True, default="")
    previous_secret = models.TextField(blank=True, default="")
    previous_secret_until = models.DateTimeField(null=True)
    after_event = models.BigIntegerField(default=0)
    created = models.DateTimeField(default=clock.now)
    updated = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "webhooks"
        ordering = ("created", "id")


class Delivery(models.Model):
    """One event that one webhook is told of: due at ``next_attempt_at``, until it is delivered or given up.

    While it is being sent, ``next_attempt_at`` is when its lease ends; when it is done there is none. Of one
    record, a delivery is sent when those before it are done: receivers see the changes of a record in their order.
    """

    class Status(models.TextChoices):
        PENDING = "pending", "waits for its next attempt"
        SENDING = "sending", "is being sent"
        DELIVERED = "delivered", "was answered with 2xx"
        FAILED = "failed", "given up"

    id = models.BigAutoField(primary_key=True)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.BigIntegerField()  # in the log; 0 for a test
    event = models.CharField(max_length=10)  # create, update, delete, test
    record_id = models.CharField(max_length=64, blank=True, default="")
    replay = models.PositiveIntegerField(default=0)  # how often the event had been sent again before
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    attempt = models.PositiveSmallIntegerField(default=0)  # how many were begun
    response_status = models.PositiveSmallIntegerField(null=True)
    response_body = models.TextField(blank=True, default="")
    duration_ms = models.PositiveIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True, default="")
    next_attempt_at = models.DateTimeField(null=True, default=clock.now)
    created = models.DateTimeField(default=clock.now)
    finished = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhook_deliveries"
        constraints = (
            models.UniqueConstraint(fields=("webhook", "event_id", "replay"), name="one_delivery_per_event_and_replay"),
        )
        indexes = (
            models.Index(fields=("webhook", "-id"), name="deliveries_of_a_webhook"),
            # A moment of the next attempt is what those have that are neither delivered nor given up.
            models.Index(
                fields=("webhook", "attempt", "next_attempt_at"),
                name="deliveries_due",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=("webhook", "record_id", "id"),
                name="deliveries_under_way",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
        )


class Progress(models.Model):
    """One row: up to which event of the log deliveries have been made."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    event_id = models.BigIntegerField(default=0)

    class Meta:
        db_table = "webhook_progress"
