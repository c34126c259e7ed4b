"""How a process hears at once that there are new events, whoever has written them.

In this process the signal ``events.appended`` says so. From the others comes word by
the database: on PostgreSQL a NOTIFY, on SQLite by a number that every commit moves.
Neither is relied upon: who follows the log looks every now and then anyway.

A NOTIFY holds a lock of the whole database cluster until its transaction is on disk.
So none is part of a write: it follows the commit, in a transaction that waits for no
disk, one for many commits, and in a server from a thread of its own.
"""

from __future__ import annotations

import logging
import selectors
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from django.db import DEFAULT_DB_ALIAS, Error, connections

from collections_app import dialects, events
from core import background

CHANNEL = "fastcms_events"
POLL_SECONDS = 0.1  # SQLite: 0.15 % of a processor
SPACING_SECONDS = 0.01  # between two NOTIFYs of one process
IDLE_SECONDS = 30.0  # until a server without a bell lets go of the connection that it tells others by
AGAIN_SECONDS = 1.0  # after a fault
CONNECT_SECONDS = 5
_NOTIFY = f"SET LOCAL synchronous_commit TO off; NOTIFY {CHANNEL}"

logger = logging.getLogger("fastcms.events")


class Bell:
    """Calls ``ring`` when there may be new events, from whichever thread knows; it must cost next to nothing.

    It may ring for nothing, and once for many.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def start(self) -> None:
        events.appended.connect(self._appended, dispatch_uid=f"collections.bell.{id(self)}", weak=False)
        _line.enter(self._ring)

    def stop(self) -> None:
        """Ring no more; waits for the thread where it was the last bell."""
        events.appended.disconnect(dispatch_uid=f"collections.bell.{id(self)}")
        _line.leave(self._ring)

    def _appended(self, **_: Any) -> None:
        self._ring()


def listen(ring: Callable[[], None]) -> None:
    """Have ``ring`` called when other processes tell of something; on SQLite, of every commit. It costs next to
    nothing, and may be called for nothing."""
    _line.enter(ring)


def unlisten(ring: Callable[[], None]) -> None:
    """The opposite of :func:`listen`; waits for the thread where nobody else listens."""
    _line.leave(ring)


def tell_others(**_: Any) -> None:
    """Receiver of ``events.appended``, and of ``changed`` of the settings: let other processes know. Never fails:
    they look anyway."""
    if dialects.current().name != "postgresql":
        return
    if _line.is_open or background.worker.is_running:
        _line.tell()
        return
    wrapper: Any = connections[DEFAULT_DB_ALIAS]
    if wrapper.in_atomic_block:
        return
    try:
        dialects.current().execute(_NOTIFY)
    except Error as fault:
        logger.warning("other processes were not told of new events; they look for themselves: %s", fault)


class _Line:
    """This process's thread that hears of others' events, and tells them of ours; there while it is needed."""

    def __init__(self) -> None:
        self._rings: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._has_come = False  # a ring that has not been rung yet: what was told before it came is its affair too
        self._is_due = False  # to tell others
        self._ear, self._mouth = socket.socketpair()  # wakes the thread
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def enter(self, ring: Callable[[], None]) -> None:
        with self._lock:
            self._rings = [*self._rings, ring]
            self._has_come = True
            self._open()
        self._wake()

    def leave(self, ring: Callable[[], None]) -> None:
        with self._lock:
            self._rings = [one for one in self._rings if one != ring]
            thread = None if self._rings else self._thread
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CONNECT_SECONDS + 1)

    def tell(self) -> None:
        if self._is_due:
            return
        self._is_due = True
        if self._thread is None:
            with self._lock:
                self._open()
        self._wake()

    def _open(self) -> None:
        if self._thread is None:
            work = self._on_sqlite if dialects.current().name == "sqlite" else self._on_postgresql
            self._thread = threading.Thread(target=self._work, args=[work], name="event-bell", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is full of wakes
            self._mouth.send(b"\0")

    # --- in the thread ---------------------------------------------------------------------------

    def _work(self, work: Callable[[], None]) -> None:
        was_well = True
        while not self._has_ended():
            try:
                work()
            except (Error, sqlite3.Error, OSError) as fault:
                if was_well:
                    logger.warning("other processes' events come late until the database answers: %s", fault)
                was_well = False
                if self._rings:
                    self._pause(AGAIN_SECONDS)
                else:
                    self._is_due = False
            else:
                was_well = True

    def _has_ended(self) -> bool:
        """Whether nobody needs the thread, which then is no longer there for anybody."""
        with self._lock:
            if self._rings or self._is_due:
                return False
            self._thread = None
            return True

    def _pause(self, seconds: float | None, *others: Any) -> None:
        """Wait for a wake, or for one of the others to be readable."""
        with selectors.DefaultSelector() as selector:
            for one in (self._ear, *others):
                selector.register(one, selectors.EVENT_READ)
            selector.select(seconds)
        with suppress(BlockingIOError):
            self._ear.recv(4096)

    def _ring_all(self) -> None:
        for ring in self._rings:
            ring()

    def _on_sqlite(self) -> None:
        """The number moves with the commits of other connections, those of this process included."""
        name = str(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"])
        with closing(sqlite3.connect(f"file:{quote(name)}?mode=ro", uri=True, isolation_level=None)) as raw:
            known = None
            while self._rings:
                state = raw.execute("PRAGMA data_version").fetchone()[0]
                if state != known:
                    known = state
                    self._ring_all()
                sleep(POLL_SECONDS)  # half the price of a wait for a wake

    def _on_postgresql(self) -> None:
        wrapper: Any = connections[DEFAULT_DB_ALIAS].copy()
        wrapper.settings_dict["OPTIONS"].setdefault("connect_timeout", CONNECT_SECONDS)
        try:
            with wrapper.wrap_database_errors:
                wrapper.ensure_connection()
                self._talk(wrapper.connection)
        finally:
            wrapper.close()

    def _talk(self, raw: Any) -> None:
        listens, told, used = False, 0.0, monotonic()
        while True:
            if self._rings and not listens:
                raw.execute(f"LISTEN {CHANNEL}")
                listens = self._has_come = True
            if self._has_come:
                self._has_come = False
                self._ring_all()
            now = monotonic()
            if self._is_due and now >= told + SPACING_SECONDS:
                self._is_due = False  # first: what is committed from here on is told the next time
                raw.execute(_NOTIFY)
                told = used = now
            # Asked after telling too: whoever left meanwhile will not wake us again.
            if not self._rings and not self._is_due and (listens or now > used + IDLE_SECONDS):
                return
            if {one.pid for one in raw.notifies(timeout=0)} - {raw.info.backend_pid}:
                self._ring_all()
            if self._is_due:
                wait: float | None = max(0.0, told + SPACING_SECONDS - monotonic())
            else:
                wait = None if self._rings else IDLE_SECONDS
            self._pause(wait, raw)


_line = _Line()
