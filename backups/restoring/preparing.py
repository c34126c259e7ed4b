"""A process of its own that makes a copy ready to be served: migrated to this version, and settled.

``python -m backups.restoring.preparing`` reads a line of ``{"target", "id", "by", "present"}`` (JSON),
where ``target`` is a file of SQLite or a schema of PostgreSQL. Whatever goes wrong, it is the copy's affair:
the process ends with another code than 0, and its last line says why. Migrations work on the default
database wherever they look, so here the copy is the default database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections, router

from core import restored
from core.errors import DomainError
from core.restored import Restoration

MODULE = "backups.restoring.preparing"
MAX_WORDS = 400


class NotReady(DomainError):
    """The copy could not be made ready; the message says why."""

    status, code = 422, "VALIDATION_ERROR"


def prepare(target: str, restoration: Restoration) -> None:
    """Have the copy made ready; NotReady where that fails."""
    told = {"target": target, "id": restoration.id, "by": restoration.by, "present": restoration.present}
    with tempfile.TemporaryFile("w+") as complaints:
        ran = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            text=True,
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_TARGET": json.dumps(_database())},
        )
        try:
            assert ran.stdin is not None
            with suppress(BrokenPipeError):  # then it says why
                ran.stdin.write(json.dumps(told) + "\n")
                ran.stdin.flush()
            code = ran.wait()
        finally:
            ran.kill()
            ran.wait()
            with suppress(BrokenPipeError):
                ran.stdin.close()  # type: ignore[union-attr]
        if code:
            complaints.seek(0)
            lines = [line.strip() for line in complaints if line.strip()]
            why = lines[-1][-MAX_WORDS:] if lines else f"it ended with {code}"
            raise NotReady(f"The backup could not be brought up to this version: {why}")


def _database() -> dict[str, Any]:
    """Where our database is: not always where the environment says (a test has its own)."""
    return {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}


def _point_at(target: str) -> None:
    """Make the copy the default database of this process."""
    config = connections.settings[DEFAULT_DB_ALIAS]
    config |= json.loads(os.environ.pop("DATABASE_TARGET"))
    if "sqlite" in config["ENGINE"]:
        config["NAME"] = target
        for alias in connections.settings.keys() - {DEFAULT_DB_ALIAS}:
            connections.settings[alias]["NAME"] = f"{target}-{alias}"
    else:
        options = config["OPTIONS"]
        options["options"] = f"{options.get('options', '')} -c search_path={target}"


def _end_with_parent() -> None:
    """Nobody wants what is made here once who wants it is gone; its end of the pipe closes with it."""
    sys.stdin.read()
    os._exit(1)


def check_tables() -> None:
    """NotReady where a table is missing that this version has: migrations only look at what was said to be done."""
    with connection.cursor() as cursor:
        here = set(connection.introspection.table_names(cursor))
    models = [one for one in apps.get_models(include_auto_created=True) if one._meta.managed]
    missing = {one._meta.db_table for one in models if router.allow_migrate_model(DEFAULT_DB_ALIAS, one)} - here
    if missing:
        raise NotReady(f"its database lacks {', '.join(sorted(missing))[:200]}")


def main() -> None:
    django.setup()
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _point_at(given["target"])
    call_command("migrate", verbosity=0, interactive=False)
    check_tables()
    restored.settle(Restoration(given["id"], given["by"], given["present"]))
    restored.check()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connections.close_all()


if __name__ == "__main__":
    main()
