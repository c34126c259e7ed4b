"""``manage.py trim_events``: delete the oldest events of the log here and now."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management import BaseCommand

from collections_app import event_retention
from collections_app.event_retention import DAYS, MAX_DAYS, ROWS, Limits
from core.gate import kept_open


class Command(BaseCommand):
    help = (
        f"Delete the oldest events of the log, as the hourly task does by the settings {DAYS} and {ROWS}. "
        "The newest event stays, and so does what a webhook still waits for, for as long again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=_positive, help="how many days the log goes back")
        parser.add_argument("--rows", type=_positive, help="how many events the log keeps at most")
        parser.add_argument("--dry-run", action="store_true", help="say how many would go, and delete nothing")

    @kept_open()
    def handle(self, *args: Any, days: int | None, rows: int | None, dry_run: bool, **options: Any) -> None:
        known = Limits.set()
        limits = Limits(min(days or known.days, MAX_DAYS), rows or known.rows)
        count = event_retention.trim(limits, dry_run=dry_run)
        self.stdout.write(f"{count:,} {'event' if count == 1 else 'events'} {'would go' if dry_run else 'deleted'}.")


def _positive(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 19 and int(text):
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a number from 1 on.")
