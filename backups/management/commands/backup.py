"""``manage.py backup``: a backup of the present instant, while the server goes on."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from backups import services, storage
from backups.models import Backup
from core.errors import DomainError

HELP = """\
Make a backup of the database and the stored files as they are now; the server may go on meanwhile.

  manage.py backup                       to where backups are, DATA_DIR/backups or BACKUP_S3_BUCKET
  manage.py backup --to /mnt/disk        into another folder
  manage.py backup --keep 7              and delete all that this command has made but the newest 7
  manage.py backup --no-files            the database alone

Exit codes: 0 it is made; 1 it is not, and why is said; 2 the command can't be read.
"""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, metavar="FOLDER", help="another folder, which must be there")
        parser.add_argument("--keep", type=_count, metavar="N", help="how many to keep of those made this way")
        parser.add_argument("--no-files", action="store_true", help="leave out the stored files")
        parser.add_argument("--note", default="", help="what it is for")

    def handle(
        self, *args: Any, to: Path | None, keep: int | None, no_files: bool, note: str, verbosity: int, **options: Any
    ) -> None:
        if to is not None and not to.is_dir():
            raise CommandError(f"There is no folder {to}.")
        try:
            made = services.create(
                "backup",
                note[:200],
                origin=Backup.Origin.COMMAND,
                with_files=not no_files,
                to=to,
                report=self._progress if verbosity and self.stdout.isatty() else None,
            )
            gone = 0
            if keep is not None:
                gone = (
                    services.keep(keep, Backup.Origin.COMMAND, "backup") if to is None else services.keep_in(to, keep)
                )
        except DomainError as fault:
            raise CommandError(fault.message) from fault
        if verbosity:
            where = storage.location(made.filename) if to is None else to / made.filename
            self.stdout.write(f"{where} ({made.size_bytes:,} bytes)")
            if made.missing:
                self.stderr.write(f"{made.missing} files are not in it: the storage had lost them before.")
            if gone:
                self.stdout.write(f"{gone} older deleted, {keep} kept.")

    def _progress(self, percent: int) -> None:
        self.stdout.write(f"\r{percent:3} % ", ending="")
        self.stdout.flush()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
