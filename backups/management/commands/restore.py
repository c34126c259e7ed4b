"""``manage.py restore FILE``: stage a backup for the next start of the server, or restore it at once."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from accounts.principals import SYSTEM
from backups import storage, workshop
from backups.restoring import applying, staging
from core.errors import DomainError

HELP = """\
Put a backup back. FILE is an archive, or the name of one that is where backups are.

  manage.py restore backup_20260115_100000.zip            stage it: the next start of the server restores it
  manage.py restore backup_20260115_100000.zip --now      restore it; a server on this machine answers 503 meanwhile
  manage.py restore /mnt/disk/backup.zip --dry-run        only verify it, every byte
  manage.py restore --cancel                              give up what is staged

Exit codes: 0 done; 1 not done, nothing was changed, and why is said; 2 the command can't be read.
"""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        parser.add_argument("file", nargs="?", metavar="FILE", help="an archive, or its name where backups are")
        what.add_argument("--now", action="store_true", help="restore it at once")
        what.add_argument("--dry-run", action="store_true", help="only verify it")
        what.add_argument("--cancel", action="store_true", help="give up what is staged")

    def handle(self, *args: Any, file: str | None, now: bool, dry_run: bool, cancel: bool, **options: Any) -> None:
        if cancel == (file is not None):
            raise CommandError("Name an archive, or say --cancel.", returncode=2)
        try:
            if file is None:
                self.stdout.write(f"{staging.cancel().backup_filename} is not staged any more.")
                return
            with _archive(file) as path:
                self._do(path, now=now, dry_run=dry_run)
        except DomainError as fault:
            raise CommandError(fault.message) from fault

    def _do(self, path: Path, *, now: bool, dry_run: bool) -> None:
        if dry_run:
            with workshop.folder(storage.folder()) as own:
                found = staging.unpack(path, own)
            made = f"made {found.metadata.get('created', '?')} by version {found.metadata.get('app_version', '?')}"
            self.stdout.write(f"{path.name} can be restored: {made}, {len(found.files)} files, {found.size:,} bytes.")
        elif now:
            done = applying.now(path, path.name, SYSTEM.key)
            self.stdout.write(f"{path.name} is restored. The state before is kept in {done.safety_copy}.")
        else:
            staging.stage(path, path.name, SYSTEM.key)
            self.stdout.write(f"{path.name} is staged: the next start of the server restores it.")


@contextmanager
def _archive(file: str) -> Iterator[Path]:
    if Path(file).is_file():
        yield Path(file)
        return
    try:
        if not storage.NAME.fullmatch(file):
            raise FileNotFoundError(file)
        with storage.fetched(file) as path:
            if not path.is_file():
                raise FileNotFoundError(file)
            yield path
    except FileNotFoundError as fault:
        raise CommandError(f"There is no archive {file}.") from fault
