"""``manage.py sweep_files``: remove files that nobody has, and tell which are missing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from collections_app.files import removal

EXAMPLES = 20


class Command(BaseCommand):
    help = (
        "Removes the bytes of files that no record and no library entry has, also those that a crash "
        "left behind, once they are an hour old. Tells which files are missing in the storage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        report = removal.sweep(dry_run=dry_run)
        will = "to remove" if dry_run else "removed"
        self.stdout.write(f"{will}, because nobody has them: {report.removed}")
        self._tell(f"{will}, because no row knows of them", report.without_row)
        self._tell("missing in the storage", report.without_bytes)

    def _tell(self, what: str, names: list[str]) -> None:
        self.stdout.write(f"{what}: {len(names)}")
        for name in names[:EXAMPLES]:
            self.stdout.write(f"  {name}")
        if len(names) > EXAMPLES:
            self.stdout.write(f"  and {len(names) - EXAMPLES} more")
