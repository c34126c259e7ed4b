"""How a transaction waits for SQLite's one write lock.

SQLite's own wait grows to 100 ms between two looks. Beside a process that writes
all the time, who has waited long looks ever less often, and may find the lock
taken each time for seconds. Here all look equally often, one thread per process.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from time import monotonic, sleep

from django.db.backends.sqlite3 import base

# As long as a usual transaction takes, the pauses between two looks are short.
_PATIENCE, _SHORT_PAUSE, _LONG_PAUSE = 0.05, 0.0002, 0.005
_lines: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class DatabaseWrapper(base.DatabaseWrapper):
    transaction_mode: str | None  # of the options

    def _start_transaction_under_autocommit(self) -> None:
        raw: sqlite3.Connection = self.connection
        line = _lines[str(self.settings_dict["NAME"])]
        started = monotonic()
        timeout = raw.execute("PRAGMA busy_timeout").fetchone()[0]
        in_turn = line.acquire(timeout=timeout / 1000)
        try:
            raw.execute("PRAGMA busy_timeout = 0")
            with self.wrap_database_errors:
                _begin(raw, f"BEGIN {self.transaction_mode or ''}", started, timeout / 1000)
        finally:
            raw.execute(f"PRAGMA busy_timeout = {timeout}")
            if in_turn:
                line.release()


def _begin(raw: sqlite3.Connection, begin: str, started: float, timeout: float) -> None:
    while True:
        try:
            raw.execute(begin)
            return
        except sqlite3.OperationalError as error:
            waited = monotonic() - started
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or waited > timeout:
                raise
        sleep(_SHORT_PAUSE if waited < _PATIENCE else _LONG_PAUSE)
