"""``manage.py sweep_files``: remove files that nobody has, and tell what does not fit together."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from collections_app.files import sweeping
from core.gate import kept_open

EXAMPLES = 20


class Command(BaseCommand):
    help = (
        "Compares stored files, their rows, and the records that name them. Removes what nobody has, also what a "
        "crash left behind, once it is an hour old, and tells which files are missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")

    @kept_open()
    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        report = sweeping.sweep(dry_run=dry_run)
        will = "to remove" if dry_run else "removed"
        self.stdout.write(f"{will}, because nobody has them: {report.removed}")
        self._tell(f"{will}, because no row knows of them", report.without_row)
        self._tell("kept for records that do not name them", report.not_named)
        self._tell("missing in the storage", report.without_bytes)
        self._tell("named by records, and not theirs or not there", report.not_kept)
        self._tell("in the storage, and none of ours", report.foreign)

    def _tell(self, what: str, names: list[str]) -> None:
        self.stdout.write(f"{what}: {len(names)}")
        for name in names[:EXAMPLES]:
            self.stdout.write(f"  {name}")
        if len(names) > EXAMPLES:
            self.stdout.write(f"  and {len(names) - EXAMPLES} more")
