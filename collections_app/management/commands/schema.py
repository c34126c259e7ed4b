"""``manage.py schema``: the collections as a file under version control, and back."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from accounts.principals import SYSTEM
from collections_app.schema import moves
from core.errors import DomainError
from core.gate import kept_open

HELP = """\
Take the collections (fields, rules, indexes, options; no records) from one installation to another.

  manage.py schema dump schema.json        write them to a file; without one to the terminal
  manage.py schema diff schema.json        what the file would change here
  manage.py schema apply schema.json       change it, in one transaction
  manage.py schema apply schema.json --dry-run
                                           try it, tell what is in the way, and leave all as it is

A file of - is the terminal's input. Collections that the file does not have stay, unless
--delete-missing. What would lose records or values is refused, unless --allow-data-loss.
Exit codes: 0 done, or nothing to do; 1 diff found differences, or apply was refused; 2 the
command can't be read.
"""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="dump | diff | apply")
        dump = actions.add_parser("dump", help="write the collections to a file")
        dump.add_argument("file", nargs="?", default="-", metavar="FILE", help="where to; the terminal without")
        diff = actions.add_parser("diff", help="what the file would change here")
        apply = actions.add_parser("apply", help="make the collections those of the file")
        for reading in (diff, apply):
            reading.add_argument("file", metavar="FILE", help="as dump has written it")
            reading.add_argument("--delete-missing", action="store_true", help="drop collections that the file lacks")
        apply.add_argument("--allow-data-loss", action="store_true", help="do it even if records or values are lost")
        apply.add_argument("--dry-run", action="store_true", help="try it, and leave everything as it is")

    @kept_open()
    def handle(self, *args: Any, action: str, file: str, **options: Any) -> None:
        try:
            if action == "dump":
                self._dump(file)
            elif action == "diff":
                self._diff(_read(file), options["delete_missing"])
            else:
                self._apply(_read(file), options)
        except DomainError as fault:
            raise CommandError(_told(fault)) from fault
        except OSError as fault:
            raise CommandError(f"{file}: {fault.strerror}") from fault

    def _dump(self, file: str) -> None:
        document = moves.dump()
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if file == "-":
            self.stdout.write(text, ending="")
            return
        Path(file).write_text(text, encoding="utf-8")
        self.stdout.write(f"{len(document['collections'])} collections are in {file}.")

    def _diff(self, document: Any, delete_missing: bool) -> None:
        plan = moves.plan(document, delete_missing=delete_missing)
        self._tell(plan)
        if plan.steps:
            sys.exit(1)

    def _apply(self, document: Any, options: dict[str, Any]) -> None:
        flags = {key: options[key] for key in ("delete_missing", "allow_data_loss", "dry_run")}
        plan = moves.move(document, actor=SYSTEM, **flags)
        self._tell(plan)
        if plan.steps:
            self.stdout.write("Nothing was changed: it was a dry run." if options["dry_run"] else "Done.")

    def _tell(self, plan: moves.Plan) -> None:
        if not plan.steps:
            self.stdout.write("There is nothing to change.")
        for step in plan.as_json():
            self.stdout.write(f"{step['action']} {step['collection']}")
            for change in step["changes"]:
                self.stdout.write(f"  {change['text']}")


def _read(file: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except ValueError as fault:
        raise CommandError(f"{file} is no JSON: {fault}") from fault


def _told(fault: DomainError) -> str:
    lines = [fault.message, *(f"  {name}: {' '.join(texts)}" for name, texts in fault.fields.items())]
    lines += [f"  for example {example}" for example in fault.extra.get("examples", ())]
    return "\n".join(lines).replace("?allow_data_loss=true", "--allow-data-loss")
