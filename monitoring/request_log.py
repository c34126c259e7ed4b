"""The table of requests: written in batches behind everybody's back, kept for so many days and rows.

What is more than :data:`MOST` requests within half a second is not noted, but counted
(``fastcms_log_entries_dropped_total``): the busier the server, the less it may cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import connections, router, transaction

from core import clock, database
from core.access_log import Entry
from monitoring.models import LoggedRequest
from settings_app import seen, values
from settings_app.registry import Setting, declare

TASK = "monitoring.trim"
EVERY_SECONDS = 600
MOST = 500  # requests of half a second
DAYS, ROWS = "request_log_days", "request_log_rows"
LONGEST = 500  # characters of a path
_PORTION = 5000  # rows that are deleted in one transaction
_FIELDS = ("at", "method", "path", "status", "ms", "address", "who", "request_id")
_QUIET = ("/health", "/api/v1/health", "/metrics", "/static/")  # they would hide all others


def declare_settings() -> None:
    declare(
        Setting(DAYS, "integer", 7, "logs", "How many days the log of requests goes back.", least=1, most=3650),
        Setting(ROWS, "integer", 100_000, "logs", "How many requests the log keeps at most.", least=0, most=10_000_000),
    )


def write(entries: Sequence[Entry], lost: int) -> None:
    """Add these to the table. In a thread of its own; its connection is closed again."""
    if not seen.value(ROWS):
        return
    rows = [
        (
            datetime.fromtimestamp(entry.at, UTC),
            entry.method[:10],
            entry.path[:LONGEST],
            entry.status,
            round(entry.ms, 3),
            entry.client[:64],
            entry.who[:150],
            entry.request_id,
        )
        for entry in entries
        if not entry.path.startswith(_QUIET)
    ]
    if not rows:
        return
    connection = connections[router.db_for_write(LoggedRequest) or "default"]
    marks = ", ".join(["%s"] * len(_FIELDS))
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL synchronous_commit = off")  # nobody waits for the disk for these
            adapted = [(connection.ops.adapt_datetimefield_value(row[0]), *row[1:]) for row in rows]
            table = LoggedRequest._meta.db_table
            cursor.executemany(f"INSERT INTO {table} ({', '.join(_FIELDS)}) VALUES ({marks})", adapted)
    finally:
        database.close()


def trim() -> int:
    """Delete what is beyond the limits, a portion at a time; answers how many rows."""
    newest = LoggedRequest.objects.order_by("-id").values_list("id", flat=True).first()
    if newest is None:
        return 0
    before = clock.now() - timedelta(days=values.get(DAYS))
    young = LoggedRequest.objects.filter(at__gte=before).order_by("at").values_list("id", flat=True).first()
    end = max(newest - int(values.get(ROWS)), (young or newest + 1) - 1)
    deleted = 0
    while True:
        portion = LoggedRequest.objects.filter(id__lte=end).order_by("id").values_list("id", flat=True)[:_PORTION]
        ids = list(portion)
        if not ids:
            return deleted
        LoggedRequest.objects.filter(id__lte=ids[-1]).delete()
        deleted += len(ids)
