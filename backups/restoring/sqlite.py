"""SQLite: the prepared copy is written into the live database as one transaction.

The backup interface, with the live database as where it writes to, takes the write lock, puts all pages into
the -wal, and commits: everybody who reads has the old state until then and the new one from then on, on the
connections that they have, and a -wal without the commit's mark is as if nothing had been written. No file
is renamed under anybody, and there is no -wal left that could belong to another database.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, connections

from backups import workshop
from backups.restoring import preparing
from backups.verifying import Contents
from core.errors import ServiceUnavailable
from core.restored import Restoration

SUFFIX = ".before_restore"
LOCK_SECONDS = 30.0
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)

logger = logging.getLogger("fastcms.backups")


def live() -> Path:
    return Path(str(connection.settings_dict["NAME"]))


def safety_copy() -> str:
    """Where the state before is kept, for people."""
    return str(live().with_name(live().name + SUFFIX))


class Restoring:
    """One restore, step by step; before :meth:`swap` nothing of it can be seen."""

    def __init__(self, folder: Path) -> None:
        self._copy = folder / "prepared.db"

    def load(self, folder: Path, found: Contents) -> None:
        """Make the copy of what was staged."""
        shutil.copyfile(folder / found.database.name, self._copy)
        page_size = _page_size(live())
        with closing(_opened(self._copy)) as raw:
            if page_size not in (0, raw.execute("PRAGMA page_size").fetchone()[0]):
                raw.execute(f"PRAGMA page_size = {page_size}")  # a database in WAL mode keeps its own
                raw.execute("VACUUM")

    def prepare(self, restoration: Restoration) -> None:
        preparing.prepare(str(self._copy), restoration)

    def keep(self) -> None:
        """Copy the live database to ``….before_restore``, in place of what was kept there before."""
        database = live()
        if not database.exists() or not database.stat().st_size:
            return
        target = Path(safety_copy())
        draft = target.with_name(f"{target.name}.draft")
        _remove(draft)
        workshop.check_room(database.parent, database.stat().st_size)
        try:
            with closing(_opened(database)) as source, closing(_opened(draft)) as copy:
                source.execute("PRAGMA query_only = 1")
                _backup(source, copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever opens it
        except sqlite3.DatabaseError as fault:
            if getattr(fault, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            logger.warning("%s is damaged, and is kept as it is: %s", database, fault)
            _remove(draft)
            shutil.copyfile(database, draft)
        workshop.place(draft, target)

    def swap(self, *, at_start: bool) -> None:
        """The one moment that counts. ``at_start`` nobody serves, and a file that is none can be made anew."""
        with suppress(DatabaseError):  # people sign in anew, whatever comes of this; a damaged file is made anew
            Session.objects.all().delete()
        connections.close_all()
        try:
            self._write()
        except sqlite3.DatabaseError as fault:
            if getattr(fault, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED or not at_start:
                raise
            # Of what is kept beside nothing can be read: there is no state that somebody could be in.
            logger.warning("%s is damaged, and is made anew: %s", live(), fault)
            _remove(live())
            self._write()

    def _write(self) -> None:
        with closing(_opened(self._copy)) as source, closing(_opened(live())) as target:
            target.execute("PRAGMA synchronous = FULL")
            _backup(source, target)

    def give_up(self) -> None:
        """The copy goes with its folder."""

    def tidy(self) -> None:
        """Give back the place that the -wal took."""
        with closing(_opened(live())) as raw, suppress(sqlite3.Error):  # the next one to write does it
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _backup(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """All pages at once; ServiceUnavailable where somebody writes all the time meanwhile."""
    latest = monotonic() + LOCK_SECONDS

    def look(status: int, *_: Any) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and monotonic() > latest:
            raise ServiceUnavailable(f"The database was locked for {LOCK_SECONDS:g} seconds; nothing was restored.")

    source.backup(target, progress=look, sleep=0.01)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=settings.BUSY_TIMEOUT_MS / 1000)


def _page_size(path: Path) -> int:
    """What the header says; 0 where there is none."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        header = file.read(18)
        if len(header) == 18:
            size = int.from_bytes(header[16:18], "big")
            return 65536 if size == 1 else size
    return 0


def _remove(path: Path) -> None:
    """A database and what belongs to it, which must never meet another one."""
    for suffix in ("-wal", "-shm", "-journal", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
