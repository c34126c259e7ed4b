"""When a delivery that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

RETRIES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))
LATEST = timedelta(hours=24)  # however long an answer asks us to wait


def next_attempt(attempt: int, retry_count: int, now: datetime, retry_after: str = "") -> datetime | None:
    """The moment of the next attempt after the ``attempt``-th (from 1) failed; None where that was the last.

    ``retry_after`` is the header of the answer: it can make the wait longer, not shorter.
    """
    if attempt > min(retry_count, len(RETRIES)):
        return None
    return max(now + RETRIES[attempt - 1], asked_for(retry_after, now))


def asked_for(retry_after: str, now: datetime) -> datetime:
    """What a ``Retry-After`` of seconds or of a date comes to, at most a day from now; now where it is neither."""
    text = retry_after.strip()[:100]
    if text.isascii() and text.isdecimal():
        return now + min(timedelta(seconds=min(int(text), 10**6)), LATEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return now
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment, now), now + LATEST)
