"""Invitations to make an account of ``users``."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from accounts.models.users import Role
from core import clock


class Invite(models.Model):
    """An invitation; its code follows from its id and the secret key, so only the hash is kept.

    ``email``, where given, is the only address that may use it, ``role`` what the
    account becomes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)
    email = models.CharField(max_length=254, blank=True)
    role = models.CharField(max_length=20, choices=Role, default=Role.USER)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="invites_created"
    )
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="invites_used"
    )
    used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "invites"
        ordering = ("-created_at", "id")
