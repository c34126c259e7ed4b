"""``manage.py doctor``: whether all is there that a server needs, and what to do where it is not."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management import BaseCommand

from cms_project import doctor
from cms_project.doctor import Level
from core import json


class Command(BaseCommand):
    help = "Look at all that a server needs, and say what to do; exits with 1 where something fails."
    requires_system_checks: list[str] = []  # they are among what is looked at

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one object: ok, and checks")

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        for name, verdict in doctor.examine():
            found.append((name, verdict))
            if not options["json"]:
                advice = f" – {verdict.remedy}" if verdict.remedy else ""
                self.stdout.write(f"{self._coloured(verdict.level)} {name}: {verdict.sentence}{advice}")
                self.stdout.flush()
        is_well = all(verdict.level is not Level.FAIL for _, verdict in found)
        if options["json"]:
            checks = [{"name": name, **asdict(verdict)} for name, verdict in found]
            self.stdout.write(json.dumps({"ok": is_well, "checks": checks}).decode())
        if not is_well:
            sys.exit(1)

    def _coloured(self, level: Level) -> str:
        style = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING, Level.FAIL: self.style.ERROR}[level]
        text = f"{level.value:4}"
        return style(text) if self.stdout.isatty() else text
