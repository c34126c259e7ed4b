"""Keys by which programs act for an account of ``users``."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from core import clock


class ApiKey(models.Model):
    """A key, of which only the hash is kept. Empty ``collections`` are all of them."""

    class Access(models.TextChoices):
        READ = "read"
        WRITE = "write"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)  # its first characters, to tell keys apart
    digest = models.CharField(max_length=64, unique=True)
    access = models.CharField(max_length=10, choices=Access, default=Access.WRITE)
    collections = models.JSONField(default=list)  # ids
    rate_limit = models.PositiveIntegerField(null=True)  # requests a minute; None is as many as a client may send
    created = models.DateTimeField(default=clock.now)
    expires = models.DateTimeField(null=True)
    stamp = models.CharField(max_length=32)  # the account's credential stamp: the key ends with it
    revoked = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_keys"
        ordering = ("-created", "id")
