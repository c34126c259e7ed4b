"""``manage.py migrate``: Django's, and the second SQLite file with it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from cms_project import ephemeral


class Command(migrate.Command):
    """Who names a ``--database`` means only that one."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.set_defaults(database=None)

    def execute(self, *args: Any, **options: Any) -> str | None:
        named = options["database"]
        output = super().execute(*args, **options | {"database": named or DEFAULT_DB_ALIAS})
        only_looks = options["check_unapplied"] or options["plan"]
        if named is None and not only_looks:
            ephemeral.migrate()
        return output
