"""PostgreSQL: the dump is loaded into a schema of its own, and tables change their schemas in one transaction.

A dump names its schema, ``public``, in every statement. So while it is loaded the live tables are aside, and come
back before the transaction ends: nobody else ever sees that, though all wait for it. What was loaded stands in
``restored`` then, where it is migrated and settled, and nobody reads it. The swap waits for every transaction
that has touched one of the live tables, moves them to ``before_restore`` and what is in ``restored`` to ``public``,
and ends the sessions of all others, who connect anew.

Tables move, and not schemas their names: we own the tables, but not always the schema ``public``, and never the
functions of extensions in it.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from django.db import Error, connection, transaction

from backups import postgres_tools
from backups.archive import BadArchive
from backups.restoring import preparing
from backups.verifying import Contents
from collections_app.dialects import quote
from collections_app.schema.change import ADVISORY_LOCK
from core.errors import ServiceUnavailable
from core.restored import Restoration

LIVE, RESTORED, KEPT, ASIDE = "public", "restored", "before_restore", "live_aside"
LOCK_TIMEOUT = "30s"
PIECE = 1024 * 1024
# With their tables go indexes, constraints, and the sequences that give their ids.
_MOVE = """DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = '{0}'::regnamespace
    AND c.relkind IN ('r', 'p') AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
  LOOP EXECUTE pg_catalog.format('ALTER TABLE {0}.%I SET SCHEMA {1}', name); END LOOP;
END $$"""
_BEFORE = (
    "SET client_min_messages = warning",
    "BEGIN",
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
    f"DROP SCHEMA IF EXISTS {RESTORED} CASCADE",
    f"CREATE SCHEMA {ASIDE}",
    _MOVE.format(LIVE, ASIDE),
)
_AFTER = (
    f"CREATE SCHEMA {RESTORED}",
    _MOVE.format(LIVE, RESTORED),
    _MOVE.format(ASIDE, LIVE),
    f"DROP SCHEMA {ASIDE}",
    "COMMIT",
)
# What is in a dump of ours. Schemas and extensions are there already, and are ours to place.
_ENTRIES = frozenset(
    {"TABLE", "TABLE DATA", "SEQUENCE", "SEQUENCE SET", "SEQUENCE OWNED BY", "DEFAULT", "CONSTRAINT",
     "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX", "STATISTICS", "STATISTICS DATA"}
)  # fmt: skip
EXTENSIONS_OF_OURS = frozenset({"pg_trgm"})
_PLACED = frozenset({"SCHEMA", "EXTENSION", "COMMENT", "ACL", "DEFAULT ACL"})

logger = logging.getLogger("fastcms.backups")


def safety_copy() -> str:
    """Where the state before is kept, for people."""
    return f"the schema {KEPT} of the same database"


class Restoring:
    """One restore, step by step; before :meth:`swap` nothing of it can be seen."""

    def __init__(self, folder: Path) -> None:
        self._own = folder

    def load(self, folder: Path, found: Contents) -> None:
        """Load the dump into the schema ``restored``; BadArchive where it is none of ours."""
        if self._row("SELECT current_schema()") != LIVE:
            raise ServiceUnavailable(f"The tables have to be in the schema {LIVE}, where a backup's are too.")
        dump = folder / found.database.name
        self._install(_extensions_of(dump))
        with tempfile.NamedTemporaryFile("w", dir=self._own) as chosen:
            chosen.writelines(f"{line}\n" for line in _entries(dump))
            chosen.flush()
            _load(dump, chosen.name)

    def prepare(self, restoration: Restoration) -> None:
        preparing.prepare(RESTORED, restoration)

    def keep(self) -> None:
        """It is kept by the swap itself, which moves it."""

    def swap(self, *, at_start: bool) -> None:
        """The one moment that counts."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
                cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE")
                cursor.execute(f"CREATE SCHEMA {KEPT}")
                cursor.execute(_MOVE.format(LIVE, KEPT))
                cursor.execute(_MOVE.format(RESTORED, LIVE))
                cursor.execute(f"DROP SCHEMA {RESTORED}")
                # Whoever is connected knows the tables of before by their numbers, and may be in the middle of work.
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND usename = current_user AND backend_type = 'client backend'"
                )
        except Error as fault:
            if getattr(fault.__cause__, "sqlstate", "") in ("55P03", "40P01"):  # somebody else had a lock
                raise ServiceUnavailable(f"The tables were in use for {LOCK_TIMEOUT}; nothing was restored.") from fault
            raise

    def tidy(self) -> None:
        """Nothing is left over."""

    def give_up(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {RESTORED} CASCADE")

    def _install(self, names: Sequence[str]) -> None:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {LIVE}")

    def _row(self, sql: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]


def _listed(dump: Path) -> list[str]:
    """The lines of the dump's contents: number, oids, then what it is, its schema, its name and owner."""
    ran = subprocess.run(  # noqa: S603
        [postgres_tools.tool("pg_restore"), "--list", str(dump)], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise BadArchive(f"Its database is no dump that can be read: {postgres_tools.last_words(ran.stderr)}")
    return [line for line in ran.stdout.splitlines() if line and not line.startswith(";")]


def _extensions_of(dump: Path) -> list[str]:
    """The extensions that the dump needs; BadArchive for any that we have no use for."""
    found = [line.split(" ")[5] for line in _listed(dump) if line.split(" ")[3:5] == ["EXTENSION", "-"]]
    for name in found:
        if name not in EXTENSIONS_OF_OURS:
            raise BadArchive(f"Its database needs the extension {name[:60]!r}, which is not ours.")
    return found


def _entries(dump: Path) -> list[str]:
    """The lines of the dump's contents that are to be loaded; BadArchive where there are others."""
    chosen = []
    for line in _listed(dump):
        words = line.split(" ")[3:]
        kind = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in _ENTRIES | _PLACED), None)
        if kind is None:
            raise BadArchive(f"Its database has something in it that is not ours: {' '.join(words)[:100]}")
        if kind in _ENTRIES:
            schema = words[len(kind.split(" "))]
            if schema == LIVE:
                chosen.append(line)
            elif schema not in (KEPT, RESTORED):  # of an earlier restore
                raise BadArchive(f"Its database has tables elsewhere than in {LIVE}: {' '.join(words)[:100]}")
    return chosen


def _load(dump: Path, chosen: str) -> None:
    """One transaction of psql, which commits only after pg_restore has written all of it and was content."""
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complained:
        writing = postgres_tools.start(
            [postgres_tools.tool("pg_restore"), "--no-owner", "--no-privileges", f"--use-list={chosen}",
             "--file=-", str(dump)],
            told,
        )  # fmt: skip
        running = subprocess.Popen(  # noqa: S603
            [postgres_tools.tool("psql"), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1",
             "--output=/dev/null", "--file=-"],
            env=postgres_tools.environment() | {"PGOPTIONS": "-c statement_timeout=0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complained,
        )  # fmt: skip
        try:
            failed = _pump(writing, running)
            code = running.wait()
        finally:
            for process in (writing, running):
                process.kill()
                process.wait()
        if failed or code:
            told.seek(0)
            complained.seek(0)
            words = postgres_tools.last_words(complained.read() or told.read())
            raise BadArchive(f"Its database could not be loaded: {words}")


def _pump(writing: subprocess.Popen[bytes], running: subprocess.Popen[bytes]) -> bool:
    """Have psql do what comes before, what pg_restore writes, and what comes after; whether that went wrong."""
    assert writing.stdout is not None and running.stdin is not None
    into: IO[bytes] = running.stdin
    try:
        with into:
            into.write("".join(f"{statement};\n" for statement in _BEFORE).encode())
            while piece := writing.stdout.read(PIECE):
                into.write(piece)
            if writing.wait():
                return True  # without a COMMIT there was nothing
            into.write("".join(f"{statement};\n" for statement in _AFTER).encode())
    except BrokenPipeError:  # psql has complained, and gone
        return True
    return False
