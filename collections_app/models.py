"""The tables that describe collections and what happens to them.

Records live in tables of their own, one per collection, made by the schema
engine; Django's migrations know nothing of those.
"""

from __future__ import annotations

from django.db import models

from collections_app.jobs.models import Job

__all__ = ["Collection", "Event", "EventLogState", "FileUse", "IdempotencyKey", "Job", "SchemaEpoch", "StoredFile"]


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
    revision = models.PositiveIntegerField(default=0)  # of the collection's definition, in whose names the data is
    data = models.JSONField(null=True)
    previous = models.JSONField(null=True)
    actor = models.CharField(max_length=128)
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "events"
        indexes = [models.Index(fields=["collection_id", "record_id", "id"], name="events_of_a_record")]


class EventLogState(models.Model):
    """One row: up to which event the log was trimmed, and after which it begins: before that are events of
    the state that a restore has put back, whose ids may have meant others since. Without it, neither was."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    trimmed_through = models.BigIntegerField(default=0)
    begins_after = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "event_log_state"


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


class StoredFile(models.Model):
    """A file in the storage. Its row is there before its bytes, and goes after them.

    ``staged``: bytes are being written for a request that is under way. ``kept``: a record
    or the media library has it. ``due``: nobody has it any more, and its bytes are to go.
    """

    class State(models.TextChoices):
        STAGED = "staged"
        KEPT = "kept"
        DUE = "due"

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=64, unique=True)
    original_name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    mime = models.CharField(max_length=127)
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=8, choices=State.choices)
    in_library = models.BooleanField(default=False)
    uploaded_by = models.CharField(max_length=128)
    created = models.DateTimeField()
    since = models.DateTimeField()  # it is in this state

    class Meta:
        db_table = "files"
        indexes = [
            models.Index(fields=["state", "since"], name="files_by_state"),
            models.Index(fields=["in_library", "created"], name="files_of_the_library"),
        ]


class FileUse(models.Model):
    """A record that has a file in one of its fields; a file of the library may be in several."""

    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="uses")
    collection_id = models.CharField(max_length=32)
    record_id = models.CharField(max_length=64)
    field_id = models.CharField(max_length=32)

    class Meta:
        db_table = "file_uses"
        constraints = [
            models.UniqueConstraint(
                fields=["collection_id", "record_id", "field_id", "file"], name="one_use_in_a_field"
            ),
        ]
