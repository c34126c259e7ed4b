"""Secrets that work once. Only their hashes are kept."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.models.owned import Owned
from core import clock


class OneTimeToken(Owned):
    """A link or ticket for one ``purpose`` of one account; see accounts/one_time.py."""

    digest = models.CharField(max_length=64, unique=True)
    purpose = models.CharField(max_length=20)
    stamp = models.CharField(max_length=32)  # the account's credential stamp when it was made
    data = models.JSONField(default=dict)
    created = models.DateTimeField(default=clock.now)
    expires = models.DateTimeField(db_index=True)
    earlier = models.JSONField(default=list)  # when those were made that it replaced, in seconds; of the last hour

    class Meta:
        db_table = "one_time_tokens"
        indexes = (models.Index(fields=["realm", "account_id", "purpose"], name="one_time_tokens_of_an_account"),)


class Challenge(Owned):
    """A sign-in that waits for its second factor; see accounts/two_factor.py."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)  # of what the client holds
    code_digest = models.CharField(max_length=64, blank=True)  # of the mailed code; empty until it is mailed
    stamp = models.CharField(max_length=32)
    method = models.CharField(max_length=40)  # of the sign-in to come
    client = models.CharField(max_length=45, blank=True)  # who asked for it, as they are counted
    attempts = models.PositiveSmallIntegerField(default=0)
    resends = models.PositiveSmallIntegerField(default=0)
    created = models.DateTimeField(default=clock.now)
    sent = models.DateTimeField(default=clock.now)  # when the last code was asked for
    expires = models.DateTimeField(db_index=True)  # one that is over is kept for an hour, for its tries

    class Meta:
        db_table = "challenges"
        indexes = (models.Index(fields=["realm", "account_id", "created"], name="challenges_of_an_account"),)


class SetupToken(models.Model):
    """The one-time token that allows the first account in production."""

    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "setup_tokens"
