"""Which records of auth collections ask for a second factor; accounts of ``users`` have a column for it."""

from __future__ import annotations

from django.db import models

from accounts.models.owned import Owned
from core import clock


class SecondFactor(Owned):
    """The account's sign-ins need a code by mail."""

    created = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "second_factors"
        constraints = (models.UniqueConstraint(fields=("realm", "account_id"), name="one_second_factor"),)
