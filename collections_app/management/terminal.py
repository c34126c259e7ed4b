"""What the commands about files of records have in common: their lines of help, formats, bars and refusals."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from collections_app.io.reading import KINDS
from core.errors import DomainError


class FileCommand(BaseCommand):
    """A command about a collection and a file; its help keeps its lines."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_file_arguments(self, parser: ArgumentParser, *, optional: bool, help: str, otherwise: str) -> None:
        parser.add_argument("collection", metavar="COLLECTION", help="its name or id")
        parser.add_argument("file", nargs="?" if optional else None, metavar="FILE", help=help)
        parser.add_argument("--format", choices=KINDS, help=otherwise)

    def kind_of(self, file: str, chosen: str | None) -> str:
        """The format that was said, or that the file's name says; CommandError where it is none."""
        kind = chosen or Path(file).suffix[1:].lower()
        if kind not in KINDS:
            raise CommandError(f"What is {file}? Say --format {' or '.join(KINDS)}.")
        return kind

    def bar(self, **options: Any) -> Any:
        return tqdm(file=self.stderr, disable=not sys.stderr.isatty(), **options)

    def tell(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.stderr.write(sentence)


def refusal(fault: DomainError) -> CommandError:
    """In words, with what is wrong with each field."""
    told = [fault.message, *(f"  {name}: {' '.join(texts)}" for name, texts in fault.fields.items())]
    return CommandError("\n".join(told))
