"""The table of jobs."""

from __future__ import annotations

from django.db import models


class Job(models.Model):
    """An import that is done in the background. What it has done stands here, written in the same transactions."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.CharField(primary_key=True, max_length=32)
    kind = models.CharField(max_length=16)
    collection_id = models.CharField(max_length=32)
    collection = models.CharField(max_length=63)  # its name when the job was made
    owner = models.CharField(max_length=128)  # the key of the principal
    api_key = models.CharField(max_length=36, blank=True)  # the id of the API key that made it
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    total = models.PositiveIntegerField(null=True)  # rows of the file, once they are counted
    done = models.PositiveIntegerField(default=0)  # of them
    failed = models.PositiveIntegerField(default=0)
    report = models.JSONField(default=dict)  # io.imports.Report
    options = models.JSONField(default=dict)
    message = models.TextField(blank=True)  # why it failed
    file = models.CharField(max_length=64)
    created = models.DateTimeField()
    started = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)
    lease_key = models.CharField(max_length=32, blank=True)  # of who runs it
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)  # since something was done last

    class Meta:
        app_label = "collections_app"
        db_table = "jobs"
        indexes = [
            models.Index(fields=["state", "created"], name="jobs_by_state"),
            models.Index(fields=["owner", "created"], name="jobs_of_an_owner"),
        ]
