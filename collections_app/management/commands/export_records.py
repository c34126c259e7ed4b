"""``manage.py export_records``: the records of a collection as a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.core.management import CommandError

from accounts.principals import SYSTEM
from collections_app.io import exports
from collections_app.management.terminal import FileCommand, refusal
from collections_app.records.operations import Call
from core.errors import DomainError

HELP = """\
Write the records of a collection as CSV, JSON or Excel, with an admin's rights: hidden fields
too, secrets never.

  manage.py export_records products                         to products_export.csv
  manage.py export_records products products.xlsx
  manage.py export_records products - --format json         to the terminal
  manage.py export_records products --filter "active = true" --sort -price --fields name,price

Exit codes: 0 done; 1 it could not be done; 2 the command can't be read.
"""


class Command(FileCommand):
    help = HELP

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_file_arguments(
            parser, optional=True, help="where to; - is the terminal", otherwise="by the file's name, or csv"
        )
        parser.add_argument("--filter", default="", help="only the records that it holds for")
        parser.add_argument("--sort", default="", metavar="FIELDS", help="by commas, - for descending")
        parser.add_argument("--fields", default="", help="only these, and the id")

    def handle(self, *args: Any, collection: str, file: str | None, **options: Any) -> None:
        kind = self.kind_of(file if file and Path(file).suffix else "any.csv", options["format"])
        query = urlencode({key: options[key] for key in ("filter", "sort", "fields") if options[key]})
        try:
            made = exports.export(Call(principal=SYSTEM, query_string=query), collection, kind)
            with closing(made.chunks):
                size = self._write(made, file or made.filename)
        except DomainError as fault:
            raise refusal(fault) from fault
        except OSError as fault:
            raise CommandError(f"{file}: {fault.strerror}") from fault
        if file != "-":
            self.stdout.write(f"{size:,} bytes are in {file or made.filename}.")

    def _write(self, made: exports.Export, file: str) -> int:
        if file == "-":
            # Bytes, where the terminal takes any.
            return self._pass_on(made, getattr(sys.stdout, "buffer", None) or _Text(self.stdout))
        part = Path(f"{file}.part")
        try:
            with part.open("wb") as target:
                size = self._pass_on(made, target)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        return size

    def _pass_on(self, made: exports.Export, target: Any) -> int:
        size = 0
        with self.bar(unit="B", unit_scale=True) as bar:
            for chunk in made.chunks:
                target.write(chunk)
                size += len(chunk)
                bar.update(len(chunk))
        return size


class _Text:
    """A stream of bytes onto one of text."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def write(self, raw: bytes) -> None:
        self._text.write(raw.decode(), ending="")
