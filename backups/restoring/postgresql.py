"""PostgreSQL: the dump is loaded into a schema of its own, and two schemas change their names in one transaction.

A dump names its schema, ``public``, in every statement. So while it is loaded the live schema has another name,
and gets its own back before the transaction ends: nobody else ever sees that. What was loaded stands in
``restored`` then, where it is migrated and settled, and nobody reads it. The swap waits for every transaction
that has touched one of the live tables, and ends the sessions of all others, who connect anew; from then on
``public`` is what was ``restored``, and what was ``public`` is kept as ``before_restore``.

Extensions are in ``public`` too, one for both: they go to where a schema needs them, and back.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.db import Error, connection, connections, transaction

from backups import postgres_tools
from backups.archive import BadArchive
from backups.restoring import preparing
from backups.verifying import Contents
from collections_app.dialects import quote
from collections_app.schema.change import ADVISORY_LOCK
from core.errors import ServiceUnavailable
from core.restored import Restoration

LIVE, RESTORED, KEPT, ASIDE, EXTENSIONS = "public", "restored", "before_restore", "live_aside", "restored_extensions"
LOCK_TIMEOUT = "30s"
PIECE = 1024 * 1024
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
            _load(dump, chosen.name, self._before(), self._after())

    def prepare(self, restoration: Restoration) -> None:
        """Migrate and settle it, with what extensions have within reach."""
        with self._extensions_in(EXTENSIONS):
            connections.close_all()
            preparing.prepare(f"{RESTORED},{EXTENSIONS}", restoration)

    def keep(self) -> None:
        """It is kept by the swap itself, which gives it another name."""

    def swap(self, *, at_start: bool) -> None:
        """The one moment that counts."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
                for table in self._column("SELECT tablename FROM pg_tables WHERE schemaname = %s", [LIVE]):
                    cursor.execute(f"LOCK TABLE {LIVE}.{quote(table)} IN ACCESS EXCLUSIVE MODE")
                cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE")
                for extension in self._extensions(LIVE):
                    cursor.execute(f"ALTER EXTENSION {quote(extension)} SET SCHEMA {RESTORED}")
                cursor.execute(f"ALTER SCHEMA {LIVE} RENAME TO {KEPT}")
                cursor.execute(f"ALTER SCHEMA {RESTORED} RENAME TO {LIVE}")
                cursor.execute(f"GRANT USAGE ON SCHEMA {LIVE} TO PUBLIC")
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

    # --- extensions ----------------------------------------------------------------------------

    def _install(self, names: Sequence[str]) -> None:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {LIVE}")

    def _before(self) -> list[str]:
        names = self._extensions(LIVE)
        return [
            "BEGIN",
            f"DROP SCHEMA IF EXISTS {RESTORED} CASCADE",
            f"ALTER SCHEMA {LIVE} RENAME TO {ASIDE}",
            f"CREATE SCHEMA {LIVE}",
            *(f"ALTER EXTENSION {quote(name)} SET SCHEMA {LIVE}" for name in names),
        ]

    def _after(self) -> list[str]:
        names = self._extensions(LIVE)
        return [
            *(f"ALTER EXTENSION {quote(name)} SET SCHEMA {ASIDE}" for name in names),
            f"ALTER SCHEMA {LIVE} RENAME TO {RESTORED}",
            f"ALTER SCHEMA {ASIDE} RENAME TO {LIVE}",
            "COMMIT",
        ]

    @contextmanager
    def _extensions_in(self, schema: str) -> Iterator[None]:
        self._put_back(schema)
        names = self._extensions(LIVE)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            for name in names:
                cursor.execute(f"ALTER EXTENSION {quote(name)} SET SCHEMA {schema}")
        try:
            yield
        finally:
            self._put_back(schema)

    def _put_back(self, schema: str) -> None:
        """Also what another process had put there, and died over."""
        with transaction.atomic(), connection.cursor() as cursor:
            for name in self._extensions(schema):
                cursor.execute(f"ALTER EXTENSION {quote(name)} SET SCHEMA {LIVE}")
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema}")

    def _extensions(self, schema: str) -> list[str]:
        return self._column(
            "SELECT e.extname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " WHERE n.nspname = %s AND e.extrelocatable ORDER BY e.extname",
            [schema],
        )

    def _column(self, sql: str, params: Sequence[Any]) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return [row[0] for row in cursor.fetchall()]

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


def _load(dump: Path, chosen: str, before: Sequence[str], after: Sequence[str]) -> None:
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
            env=postgres_tools.environment() | {"PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complained,
        )  # fmt: skip
        try:
            failed = _pump(writing, running, before, after)
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


def _pump(
    writing: subprocess.Popen[bytes], running: subprocess.Popen[bytes], before: Sequence[str], after: Sequence[str]
) -> bool:
    """Have psql do what comes before, what pg_restore writes, and what comes after; whether that went wrong."""
    assert writing.stdout is not None and running.stdin is not None
    into: IO[bytes] = running.stdin
    try:
        with into:
            into.write("".join(f"{statement};\n" for statement in before).encode())
            while piece := writing.stdout.read(PIECE):
                into.write(piece)
            if writing.wait():
                return True  # without a COMMIT there was nothing
            into.write("".join(f"{statement};\n" for statement in after).encode())
    except BrokenPipeError:  # psql has complained, and gone
        return True
    return False
