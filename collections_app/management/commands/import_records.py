"""``manage.py import_records``: a file's rows into a collection, here and now."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import CommandError

from accounts.principals import SYSTEM
from collections_app.io import imports
from collections_app.io.options import Options
from collections_app.io.options import options as options_of
from collections_app.io.report import Report
from collections_app.management.terminal import FileCommand, refusal
from collections_app.records.operations import Call
from core.errors import DomainError, ValidationFailed
from core.gate import kept_open

HELP = """\
Import a CSV, JSON or Excel file into a collection, with an admin's rights.

  manage.py import_records products products.csv
  manage.py import_records products prices.xlsx --match sku     change what is there
  manage.py import_records products old.csv --map Name:name,Preis:price
  manage.py import_records products products.csv --dry-run      only say what would be

Rows that are right land in one transaction; those that are wrong are told by their number, on
the standard error. Exit codes: 0 all rows are right; 1 some are wrong, or nothing could be
imported; 2 the command can't be read.
"""


class Command(FileCommand):
    help = HELP

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_file_arguments(
            parser, optional=False, help="CSV, JSON or Excel", otherwise="by the file's name without it"
        )
        parser.add_argument(
            "--match", default="", metavar="FIELD", help="id or a unique field: such rows change records"
        )
        parser.add_argument("--map", default="", metavar="COLUMN:FIELD,…", help="fields of columns with other names")
        parser.add_argument("--atomic", action="store_true", help="all rows, or none where one is wrong")
        parser.add_argument("--dry-run", action="store_true", help="say what would be, and leave all as it is")
        parser.add_argument("--skip-validation", action="store_true", help="take whatever the columns can hold")

    @kept_open()
    def handle(self, *args: Any, collection: str, file: str, **options: Any) -> None:
        kind = self.kind_of(file, options["format"])
        flags = {key: "true" for key in ("atomic", "dry_run", "skip_validation") if options[key]}
        try:
            chosen = options_of({**flags, "match": options["match"], "map": options["map"]})
            report = self._import(collection, kind, Path(file), chosen)
        except OSError as fault:
            raise CommandError(f"{file}: {fault.strerror}") from fault
        except ValidationFailed as fault:
            self.tell(error["error"] for error in fault.extra.get("errors", ()))
            raise refusal(fault) from fault
        except DomainError as fault:
            raise refusal(fault) from fault
        self.tell(error["error"] for error in report.as_json()["errors"])
        would = "would be " if chosen.dry_run else ""
        self.stdout.write(
            f"{report.imported:,} of {report.total:,} rows {would}imported, "
            f"of which {report.updated:,} changed records; {report.failed:,} are wrong."
        )
        if report.failed:
            sys.exit(1)

    def _import(self, collection: str, kind: str, path: Path, chosen: Options) -> Report:
        call = Call(principal=SYSTEM, method="POST")
        with (
            path.open("rb") as file,
            imports.looked(call, collection, kind, file, chosen) as found,
            self.bar(total=found.rows.count, unit=" rows") as bar,
        ):
            return imports.run_rows(
                call, collection, kind, found.rows, chosen, after_each=lambda report: _advance(bar, report.total)
            )


def _advance(bar: Any, done: int) -> None:
    bar.update(done - bar.n)
