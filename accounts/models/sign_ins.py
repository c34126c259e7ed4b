"""Sign-ins that are open."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.models.owned import Owned
from core import clock


class SignIn(Owned):
    """One sign-in and the chain of refresh tokens that came of it.

    Only ``refresh_id`` may be exchanged; an older one coming back means that the
    chain was copied, and ends it. Access tokens name their sign-in, so ending it
    ends them too.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    refresh_id = models.CharField(max_length=32)
    created = models.DateTimeField(default=clock.now)
    last_used = models.DateTimeField(default=clock.now)
    expires = models.DateTimeField(db_index=True)
    revoked = models.DateTimeField(null=True, blank=True)
    method = models.CharField(max_length=40, default="password")  # what it rests on: password, two_fa, oauth:google
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "sign_ins"
        indexes = (models.Index(fields=["realm", "account_id"], name="sign_ins_of_an_account"),)
