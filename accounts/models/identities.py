"""Accounts elsewhere by which people sign in here."""

from __future__ import annotations

from django.db import models

from accounts.models.owned import Owned
from core import clock


class ExternalIdentity(Owned):
    """Who signs in as ``subject`` at ``provider`` is this account, whatever their address there.

    ``issuer`` tells the OpenID Connect providers apart that were set up one after the other.
    """

    provider = models.CharField(max_length=64)
    issuer = models.CharField(max_length=500, blank=True)
    subject = models.CharField(max_length=255)
    email = models.CharField(max_length=254, blank=True)
    created = models.DateTimeField(default=clock.now)
    last_login = models.DateTimeField(null=True)

    class Meta:
        db_table = "external_identities"
        constraints = (
            models.UniqueConstraint(fields=("realm", "provider", "issuer", "subject"), name="one_account_per_identity"),
        )
        indexes = (models.Index(fields=["realm", "account_id"], name="identities_of_an_account"),)
