"""What may be lost, and is written all the time: on SQLite in the second file (cms_project/ephemeral.py)."""

from __future__ import annotations

from django.db import models


class LoggedRequest(models.Model):
    """A request that was answered. No query string and no body: what is in them may be a secret."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField()  # 0 where nothing was answered
    ms = models.FloatField()
    address = models.CharField(max_length=64)
    who = models.CharField(max_length=150)  # collection/id of the account; empty for nobody
    request_id = models.CharField(max_length=128)

    class Meta:
        db_table = "request_log"
        ordering = ("-id",)
        verbose_name = "request"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class Heartbeat(models.Model):
    """When whoever runs background tasks was last seen to run one: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    at = models.DateTimeField()

    class Meta:
        db_table = "heartbeat"
