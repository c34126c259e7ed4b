"""The backups that there are, and the one that is being made."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core import clock, ids


class Backup(models.Model):
    """A backup; its archive is in the storage of backups under ``filename`` when it is completed.

    One is made at a time, over all processes: the row that is ``running`` is the lease for it, which ends at
    ``lease_until`` unless it is renewed. One that was asked for and that nobody works at has no ``begun``.
    A deleted one is kept for a while, for who wants to know by whom.
    """

    class Status(models.TextChoices):
        RUNNING = "running", "is being made, or waits for that"
        COMPLETED = "completed", "is in the storage"
        FAILED = "failed", "came to nothing"

    class Origin(models.TextChoices):
        """Who wanted it."""

        REQUEST = "request", "somebody, over the API"
        SCHEDULE = "schedule", "the setting backup_schedule"
        COMMAND = "command", "manage.py backup"
        SAFETY = "safety", "something that was about to change much"
        UPLOAD = "upload", "it was uploaded"
        FOUND = "found", "it was found in the storage"

    id = models.CharField(primary_key=True, max_length=32, default=ids.new_id, editable=False)
    filename = models.CharField(max_length=255)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    origin = models.CharField(max_length=10, choices=Origin.choices)
    note = models.CharField(max_length=200, blank=True, default="")
    with_files = models.BooleanField(default=True)
    size_bytes = models.BigIntegerField(default=0)
    percent = models.PositiveSmallIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)  # files that the storage had lost before
    error = models.CharField(max_length=500, blank=True, default="")
    created = models.DateTimeField(default=clock.now)  # the instant that it shows
    created_by = models.CharField(max_length=128, blank=True, default="")
    begun = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)
    deleted = models.DateTimeField(null=True)
    deleted_by = models.CharField(max_length=128, blank=True, default="")

    class Meta:
        db_table = "backups"
        ordering = ("-created", "-id")
        constraints = (
            models.UniqueConstraint(fields=("filename",), condition=Q(deleted=None), name="one_backup_of_a_name"),
            models.UniqueConstraint(fields=("status",), condition=Q(status="running"), name="one_backup_at_a_time"),
        )
        indexes = (models.Index(fields=("origin", "-created"), name="backups_by_origin"),)

    @property
    def name(self) -> str:
        """The file name without what says how it is packed."""
        return self.filename.removesuffix(".enc").removesuffix(".zip")
