"""The tables that describe collections and what happens to them.

Records live in tables of their own, one per collection, made by the schema
engine; Django's migrations know nothing of those.
"""

from __future__ import annotations

from django.db import models


class Collection(models.Model):
    """A collection's definition. Read through ``schema.registry``, written through ``schema.service``."""

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=63, unique=True)
    type = models.CharField(max_length=8)
    schema = models.JSONField(default=list)
    list_rule = models.TextField(null=True, blank=True)
    view_rule = models.TextField(null=True, blank=True)
    create_rule = models.TextField(null=True, blank=True)
    update_rule = models.TextField(null=True, blank=True)
    delete_rule = models.TextField(null=True, blank=True)
    indexes = models.JSONField(default=list)
    options = models.JSONField(default=dict)
    view_query = models.TextField(null=True, blank=True)
    cache_ttl = models.PositiveIntegerField(null=True, blank=True)
    system = models.BooleanField(default=False)
    revision = models.PositiveIntegerField(default=1)
    created = models.DateTimeField()
    updated = models.DateTimeField()

    class Meta:
        db_table = "collections"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class SchemaEpoch(models.Model):
    """One row; its version grows with every change of the schema, in the same transaction."""

    version = models.BigIntegerField(default=1)

    class Meta:
        db_table = "schema_epoch"


class Event(models.Model):
    """One committed change. Appended in the change's own transaction, read by whoever listens."""

    id = models.BigAutoField(primary_key=True)
    type = models.CharField(max_length=32)
    collection = models.CharField(max_length=63)
    collection_id = models.CharField(max_length=32)
    record_id = models.CharField(max_length=64)
    data = models.JSONField(null=True)
    previous = models.JSONField(null=True)
    actor = models.CharField(max_length=128)
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "events"
        indexes = [models.Index(fields=["collection_id", "record_id", "id"], name="events_of_a_record")]


class IdempotencyKey(models.Model):
    """A POST that its caller may repeat, and the answer that the first one got."""

    caller = models.CharField(max_length=160)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    created = models.DateTimeField(db_index=True)
    claimed_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(null=True)

    class Meta:
        db_table = "idempotency_keys"
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="one_answer_per_caller_and_key")]
