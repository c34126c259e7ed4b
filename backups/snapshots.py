"""The database as it is at one instant, while others go on writing, and which files it names.

SQLite: its backup interface copies the database inside a read transaction, step by step. In WAL mode that
holds nobody up, and what is committed meanwhile is not in it. PostgreSQL: a transaction holds one snapshot,
from which pg_dump writes and the file rows are read.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, cast

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, connections

from backups import ours, postgres_tools
from backups.workshop import NoRoom
from collections_app.models import StoredFile
from collections_app.schema.change import ADVISORY_LOCK
from core import clock
from core.errors import ServiceUnavailable

STEP = 1000  # pages of SQLite between two looks at the lease, some MB
PIECE = 1024 * 1024
_BATCH = 1000  # rows
_FILES = f"SELECT name, size, mime FROM {StoredFile._meta.db_table} WHERE state = 'kept' ORDER BY id"
_MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY id"
_LOCK_WAIT = "30s"
_LOCK_TIMEOUT = "55P03"  # PostgreSQL's code for it
_DAMAGED = "The database is damaged, and was not backed up; manage.py checkdb tells more:"

Report = Callable[[int], None]  # told how many bytes are done; raises what ends the work
File = tuple[str, int, str]  # name, size in bytes, type


class Changed(ServiceUnavailable):
    """The dump failed, which a change of tables that is not ours can be the cause of, as by a migration."""


class Snapshot(Protocol):
    """An instant that holds still. First :meth:`pieces`, then :meth:`files`."""

    engine: str
    moment: datetime
    is_packed: bool  # whether the database's bytes are compressed already
    migrations: dict[str, list[str]]

    def pieces(self) -> Iterator[bytes]:
        """The database as it is archived."""

    def files(self) -> Iterator[File]:
        """The files that records and the library have."""


def check_tools() -> None:
    """ServiceUnavailable, in words, where what a snapshot needs is not installed."""
    if connection.vendor == "postgresql":
        postgres_tools.tool("pg_dump")


def room() -> int:
    """How many bytes the database takes at most while it is archived; SQLite's is copied before."""
    return size() * (1 if connection.vendor == "postgresql" else 2)


def size() -> int:
    """How many bytes the database has now."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
        cursor.execute("PRAGMA page_count")
        pages = int(cursor.fetchone()[0])
        cursor.execute("PRAGMA page_size")
        return pages * int(cursor.fetchone()[0])


@contextmanager
def taken(folder: Path, report: Report) -> Iterator[Snapshot]:
    """Take a snapshot, with what belongs to it in ``folder``; ServiceUnavailable, NoRoom where that can't be."""
    if connection.vendor == "postgresql":
        with _postgresql(folder, report) as snapshot:
            yield snapshot
    else:
        yield _sqlite(folder, report)


@dataclass(slots=True)
class _SQLite:
    path: Path
    moment: datetime
    migrations: dict[str, list[str]]
    engine: str = "sqlite"
    is_packed: bool = False

    def pieces(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def files(self) -> Iterator[File]:
        with closing(_opened(self.path)) as copy:
            yield from copy.execute(_FILES)


def _sqlite(folder: Path, report: Report) -> _SQLite:
    path = folder / "database.db"
    try:
        moment = _copy(path, report)
        with closing(_opened(path)) as copy:
            # The copy is one file, for whoever opens it: no journal beside it, and no -wal.
            mode = copy.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
            problems = [row[0] for row in copy.execute("PRAGMA integrity_check(10)")]
            migrations = _by_app(copy.execute(_MIGRATIONS))
    except sqlite3.Error as fault:
        code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise NoRoom(f"The disk of {folder.parent.parent} is full; nothing of the backup is left there.") from fault
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise ServiceUnavailable(f"{_DAMAGED} {fault}") from fault
        raise ServiceUnavailable(f"The database could not be copied: {fault}.") from fault
    if mode != "delete" or problems != ["ok"]:
        raise ServiceUnavailable(f"{_DAMAGED} {'; '.join(problems)}"[:500])
    return _SQLite(path, moment, migrations)


def _copy(path: Path, report: Report) -> datetime:
    """Copy the database; answers the moment whose state the copy has."""
    name = str(connection.settings_dict["NAME"])
    with closing(_opened(Path(name))) as source, closing(_opened(path)) as copy:
        source.execute("PRAGMA query_only = 1")
        source.execute("BEGIN")
        source.execute("SELECT 0 FROM sqlite_master LIMIT 0").fetchall()
        # With the first read the transaction has its state, and the copy is of that however long it takes:
        # without a transaction each step would have one of its own, and begin anew after each commit of others.
        moment = clock.now()
        page = int(source.execute("PRAGMA page_size").fetchone()[0])
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy, pages=STEP, progress=lambda status, left, total: report((total - left) * page), sleep=0.01)
    return moment


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=settings.BUSY_TIMEOUT_MS / 1000)


@dataclass(slots=True)
class _PostgreSQL:
    raw: Any  # psycopg's connection, in the transaction that holds the snapshot
    exported: str
    folder: Path
    report: Report
    moment: datetime
    migrations: dict[str, list[str]]
    wanted: list[str]  # of pg_dump: what is ours
    engine: str = "postgresql"
    is_packed: bool = True

    def pieces(self) -> Iterator[bytes]:
        """What pg_dump writes, as it writes it: it ends with us, however we end."""
        command = [
            postgres_tools.tool("pg_dump"),
            "--format=custom",
            "--no-password",
            "--no-owner",
            "--no-privileges",
            *self.wanted,
            f"--snapshot={self.exported}",
            f"--lock-wait-timeout={_LOCK_WAIT}",
            # Who is signed in is not part of a backup, as it is not with SQLite.
            f"--exclude-table-data={Session._meta.db_table}",
        ]
        with tempfile.TemporaryFile("w+", dir=self.folder) as told:
            dumping = postgres_tools.start(command, told)
            try:
                yield from self._read(dumping)
                code = dumping.wait()
            finally:
                dumping.kill()
                dumping.wait()
            if code:
                told.seek(0)
                raise Changed(f"pg_dump failed: {postgres_tools.last_words(told.read())}")

    def _read(self, dumping: subprocess.Popen[bytes]) -> Iterator[bytes]:
        assert dumping.stdout is not None
        done = 0
        with cast(BufferedReader, dumping.stdout) as out:
            while piece := out.read1(PIECE):
                if not done:  # it writes when it has locked all tables
                    self.raw.execute("SELECT pg_advisory_unlock_shared(%s)", [ADVISORY_LOCK])
                done += len(piece)
                self.report(done)
                yield piece

    def files(self) -> Iterator[File]:
        """Written down first, so that nothing holds on to the snapshot while the files are copied."""
        with tempfile.TemporaryFile("w+", dir=self.folder) as rows:
            with self.raw.cursor(name="files") as cursor:
                cursor.itersize = _BATCH
                cursor.execute(_FILES)
                rows.writelines(json.dumps(row) + "\n" for row in cursor)
            self.raw.execute("ROLLBACK")
            rows.seek(0)
            for line in rows:
                name, size, mime = json.loads(line)
                yield name, size, mime


@contextmanager
def _postgresql(folder: Path, report: Report) -> Iterator[_PostgreSQL]:
    check_tools()
    wrapper: Any = connections["default"].copy()
    try:
        wrapper.ensure_connection()
        raw = wrapper.connection
        _wait_for_the_schema(raw)
        raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0")
        exported = raw.execute("SELECT pg_export_snapshot()").fetchone()[0]
        moment = clock.now()
        migrations = _by_app(raw.execute(_MIGRATIONS))
        yield _PostgreSQL(raw, exported, folder, report, moment, migrations, _wanted(raw))
    finally:
        wrapper.close()


def _wanted(raw: Any) -> list[str]:
    """Which tables are dumped, and the extension that their indexes need: whatever else is there is not ours."""
    schema = str(raw.execute("SELECT current_schema()").fetchone()[0])
    mine, _ = ours.tables(raw.execute, schema)
    wanted = [f'--table="{schema}"."{name}"' for name in mine]
    if raw.execute("SELECT 1 FROM pg_extension WHERE extname = %s", [ours.EXTENSION]).fetchone():
        wanted.append(f"--extension={ours.EXTENSION}")
    return wanted


def _wait_for_the_schema(raw: Any) -> None:
    """Hold off changes of the schema: pg_dump fails over one that comes between the snapshot and its locks."""
    raw.execute(f"SET lock_timeout = '{_LOCK_WAIT}'")
    try:
        raw.execute("SELECT pg_advisory_lock_shared(%s)", [ADVISORY_LOCK])
    except raw.OperationalError as fault:
        if fault.sqlstate != _LOCK_TIMEOUT:
            raise
        raise ServiceUnavailable("A schema is being changed. Please try again.") from fault


def _by_app(rows: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for app, name in rows:
        found.setdefault(app, []).append(name)
    return found
