"""Who asked for what: collected on the event loop, written by threads of their own.

An entry goes to each of those who keep it: to the log, as a line, and to whoever has
registered (:func:`keep`), such as the app that has them in a table. Each keeper has a thread
and a bounded queue: one that is slow loses entries, which are counted, and holds up nobody.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import localtime, monotonic, strftime, time
from typing import Any, NamedTuple

from django.conf import settings

from core import clock, json, metrics

PAUSE_SECONDS = 0.5  # an entry is written at most this much later
QUIET_SECONDS = 60.0  # until it is said again that entries can't be kept
MOST = 20_000  # lines that wait; whoever reads our output may be slow

logger = logging.getLogger("access")
_dropped = metrics.counter("log_entries_dropped", "Requests that were answered, and not noted.", ["keeper"])


class Entry(NamedTuple):
    """``path`` is printable and without its query; ``status`` 0 where nothing was answered. ``who`` names the
    account as ``collection/id``; empty for nobody, and where nobody asked who it was."""

    at: float
    method: str
    path: str
    status: int
    ms: float
    request_id: str
    client: str
    who: str


@dataclass(frozen=True, slots=True)
class Keeper:
    """``write`` gets the entries of a while, in a thread, and how many were lost since the last time."""

    name: str
    write: Callable[[Sequence[Entry], int], None]
    most: int


_keepers: list[Keeper] = []


def keep(keeper: Keeper) -> None:
    """Have entries go there too; done in ``AppConfig.ready()``."""
    let_go(keeper.name)
    _keepers.append(keeper)


def let_go(name: str) -> None:
    """Have that keeper get nothing more from logs that begin later."""
    _keepers[:] = [one for one in _keepers if one.name != name]


class AccessLog:
    """For the event loop: ``add`` costs what it takes to put a few things into a row."""

    def __init__(self) -> None:
        told = settings.ACCESS_LOG and logger.isEnabledFor(logging.INFO)
        keepers = [Keeper("lines", _write_lines, MOST), *_keepers] if told else _keepers
        self._queues = [_Queue(keeper) for keeper in keepers]

    def add(self, method: str, path: str, status: int, ms: float, request_id: str, client: str, who: str = "") -> None:
        entry = (time(), method, path, status, ms, request_id, client, who)
        for queue in self._queues:
            queue.add(entry)

    def close(self) -> None:
        """Write what is left. An entry that comes later starts anew."""
        for queue in self._queues:
            queue.close()


class _Queue:
    """The entries of half a second go to their keeper together: one at a time they cost more than many an answer."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._entries: deque[Any] = deque()
        self._lost, self._quiet_until = 0, 0.0
        self._thread: threading.Thread | None = None
        self._wake, self._closing = threading.Event(), threading.Event()

    def add(self, entry: tuple[Any, ...]) -> None:
        if len(self._entries) >= self._keeper.most:
            self._lost += 1
            return
        self._entries.append(entry)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.set()
            self._wake.set()
            thread.join()
            self._closing.clear()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"access-log {self._keeper.name}", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        ending = False
        while not ending:
            self._wake.wait()
            self._closing.wait(PAUSE_SECONDS)
            self._wake.clear()
            # Looked at last: whoever closes sets this before the wake-up that was just cleared.
            ending = self._closing.is_set()
            self._write()

    def _write(self) -> None:
        entries = [Entry(*self._entries.popleft()) for _ in range(len(self._entries))]
        lost, self._lost = self._lost, 0
        if lost:
            _dropped.labels(self._keeper.name).inc(lost)
        if not entries:
            return
        try:
            self._keeper.write(entries, lost)
        except Exception as fault:  # noqa: BLE001 - the next ones may be kept
            _dropped.labels(self._keeper.name).inc(len(entries))
            if monotonic() >= self._quiet_until:
                self._quiet_until = monotonic() + QUIET_SECONDS
                logger.warning("requests are not noted (%s): %s", self._keeper.name, fault)


def _write_lines(entries: Sequence[Entry], lost: int) -> None:
    """Lines like ``2026-01-15 10:00:00 INFO access [id] GET /path 200 1.23ms 127.0.0.1``, as one record."""
    line = _as_json if settings.LOG_FORMAT == "json" else _as_text
    lines = [line(entry) for entry in entries]
    logger.info("\n".join(lines))
    if lost:
        logger.info(_lost_line(lost))


def _as_text(entry: Entry) -> str:
    at = strftime("%Y-%m-%d %H:%M:%S", localtime(entry.at))
    return (
        f"{at} INFO access [{entry.request_id}] {entry.method} {entry.path} {entry.status or '-'}"
        f" {entry.ms:.2f}ms {entry.client}"
    )


def _as_json(entry: Entry) -> str:
    line = {
        "time": _iso(entry.at),
        "level": "INFO",
        "logger": "access",
        "request_id": entry.request_id,
        "method": entry.method,
        "path": entry.path,
        "status": entry.status or None,
        "ms": round(entry.ms, 2),
        "client": entry.client,
        "who": entry.who,
    }
    return json.dumps(line).decode()


def _lost_line(lost: int) -> str:
    message = f"{lost} lines were dropped"
    if settings.LOG_FORMAT == "json":
        line = {"time": _iso(time()), "level": "WARNING", "logger": "access", "message": message}
        return json.dumps(line).decode()
    return f"{strftime('%Y-%m-%d %H:%M:%S')} WARNING access {message}"


def _iso(at: float) -> str:
    return clock.isoformat(datetime.fromtimestamp(at, UTC))
