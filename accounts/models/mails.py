"""Mails that are due."""

from __future__ import annotations

from django.db import models

from accounts.models.owned import Owned
from core import clock


class Mail(Owned):
    """A mail to be made and sent; see accounts/mailing.py. It holds no secrets: they are made when it is sent.

    ``to`` is an address other than the account's, ``account_id`` may be empty.
    """

    template = models.CharField(max_length=40)
    to = models.CharField(max_length=254, blank=True)
    data = models.JSONField(default=dict)
    created = models.DateTimeField(default=clock.now)
    due = models.DateTimeField(default=clock.now, db_index=True)  # not before; moved on by a lease or a failure
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        db_table = "mails"
