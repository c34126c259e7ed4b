"""Time as the product stores and answers it: UTC, ISO 8601, a trailing ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current moment, aware, in UTC. The one clock of the product."""
    return datetime.now(UTC)


def isoformat(moment: datetime) -> str:
    """``2026-01-15T10:00:00Z``; microseconds only where there are any."""
    if moment.tzinfo is UTC:
        return moment.isoformat()[:-6] + "Z"
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat() + "Z"
