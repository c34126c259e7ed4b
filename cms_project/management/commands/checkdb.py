"""``manage.py checkdb [--fix]``: whether what is stored fits together, and its repair."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.core.management import BaseCommand, CommandError
from django.db import Error

from backups import services
from backups.models import Backup
from core import catalogue, consistency
from core.consistency import Problem
from core.errors import DomainError
from core.gate import kept_open

LINE = "=" * 42
HELP = """\
Compare the database with what it should hold: tables, columns, indexes, references, collections and
their records, files, the log of events, deliveries.

  manage.py checkdb           only look; nothing is written
  manage.py checkdb --fix     make a backup, then add what is missing and mend what follows from other data

A repair never removes a value. What only people can decide is told, with what to do.

Exit codes: 0 all is well; 1 it is not; 2 the command can't be read.
"""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []  # it has to run where much is wrong

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--fix", action="store_true", help="repair what can be, after a backup")
        parser.add_argument("--no-backup", action="store_true", help="repair without one, where none can be made")

    def handle(self, *args: Any, fix: bool, no_backup: bool, **options: Any) -> None:
        with kept_open() if fix else nullcontext():
            self._check(fix, no_backup)

    def _check(self, fix: bool, no_backup: bool) -> None:
        self.stdout.write("Running database consistency check...\n\n")
        try:
            catalogue.read()
        except Error as fault:
            raise CommandError(f"The database can't be read: {fault}. Restore a backup.") from fault
        found = consistency.find()
        if fix and any(problem.repair for problem in found):
            if not no_backup:
                self._back_up(found)
            found = self._repair(found)
            self.stdout.write("")
        self._tell(found)
        if found:
            sys.exit(1)

    def _back_up(self, found: Sequence[Problem]) -> None:
        missing = {problem.subject: problem for problem in found if problem.kind == "table"}
        if _is_empty(missing):
            return
        table = Backup._meta.db_table
        if table in missing and (repair := missing[table].repair):
            repair()  # where the backup is to be noted
        try:
            made = services.create("checkdb", "before a repair")
        except DomainError as fault:
            raise CommandError(
                f"No backup could be made, so nothing was repaired: {fault.message} "
                "Copy the data yourself, then use --fix --no-backup."
            ) from fault
        self.stdout.write(f"Backup made: {made.filename}\n\n")

    def _repair(self, found: Sequence[Problem]) -> list[Problem]:
        tables = [problem.subject for problem in found if problem.kind == "table" and problem.repair]
        if tables:
            self.stdout.write(f"Creating missing tables: {', '.join(tables)}...")
        begun: set[str] = set()

        def report(problem: Problem, fault: str) -> None:
            if problem.kind != "table" and problem.kind not in begun:
                begun.add(problem.kind)
                self.stdout.write("Adding missing columns..." if problem.kind else "Repairing...")
            if problem.kind == "column":
                table, _, column = problem.subject.rpartition(".")
                self.stdout.write(f"  - Adding {column} to {table}")
            elif not problem.kind:
                self.stdout.write(f"  - {problem.sentence}")
            if fault:
                self.stdout.write(f"    could not be done: {fault}")

        return consistency.repair(report)

    def _tell(self, found: Sequence[Problem]) -> None:
        write = self.stdout.write
        write(f"{LINE}\nDatabase Consistency Check Results:\n{LINE}")
        for kind, title, remedy in (
            ("table", "Tables", "create missing tables"),
            ("column", "Columns", "add missing columns"),
        ):
            missing = [problem for problem in found if problem.kind == kind]
            write(f"{title} OK: {'NO' if missing else 'YES'}")
            if missing:
                write(f"Missing {title}:")
                for problem in missing:
                    write(f"  - {problem.subject}")
                write(f"  (Use --checkdb --fix to {remedy} automatically)")
        others = [problem for problem in found if not problem.kind]
        if others:
            write("Other Problems:")
            for problem in others:
                write(f"  - {problem.sentence}")
            if any(problem.repair for problem in others):
                write("  (Use --checkdb --fix to repair what can be repaired automatically)")
        if not found:
            write("Database consistency check passed - all required tables and columns exist")
        write(LINE)


def _is_empty(missing: dict[str, Problem]) -> bool:
    """Whether there is nothing yet that a backup could hold."""
    return all(model._meta.db_table in missing for model in apps.get_app_config("accounts").get_models())
