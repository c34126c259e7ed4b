"""What has expired goes: sign-ins, one-time tokens, challenges."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from accounts.models import Challenge, OneTimeToken, SignIn
from core import background, clock

TASK = "accounts.sweep"
BATCH = 1000  # rows of one statement: nobody waits long for the lock


def sweep() -> int:
    """Delete what has expired; answers how many rows. Nothing that expired is accepted anyway."""
    now = clock.now()
    return sum(_delete_expired(model, now) for model in (SignIn, OneTimeToken, Challenge))


def _delete_expired(model: type[models.Model], now: datetime) -> int:
    deleted = 0
    while not background.is_ending():
        rows = list(model._default_manager.filter(expires__lt=now).values_list("pk", flat=True)[:BATCH])
        deleted += model._default_manager.filter(pk__in=rows).delete()[0]
        if len(rows) < BATCH:
            break
    return deleted
