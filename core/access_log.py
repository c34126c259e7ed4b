"""One line per request, collected on the event loop and written by a thread of its own."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from time import localtime, strftime, time

PAUSE_SECONDS = 0.5  # a line is written at most this much later
_MOST = 20_000  # lines that wait; whoever reads our output may be slow

logger = logging.getLogger("access")


class AccessLog:
    """Lines like ``2026-01-15 10:00:00 INFO access [id] GET /path 200 1.23ms 127.0.0.1``.

    Logging costs more than many an answer, so the lines of half a second go to the
    logger as one record.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._second, self._moment = 0, ""

    def add(self, method: str, path: str, status: int, ms: float, request_id: str, client: str) -> None:
        """``path`` printable and without its query; ``status`` 0 where nothing was answered."""
        if len(self._lines) >= _MOST:
            self._dropped += 1
            return
        second = int(time())
        if second != self._second:
            self._second, self._moment = second, strftime("%Y-%m-%d %H:%M:%S", localtime(second))
        self._lines.append(
            f"{self._moment} INFO access [{request_id}] {method} {path} {status or '-'} {ms:.2f}ms {client}"
        )
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def close(self) -> None:
        """Write what is left. A line that comes later starts anew."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.set()
            self._wake.set()
            thread.join()
            self._closing.clear()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
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
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._dropped:
            lines.append(f"{self._moment} WARNING access {self._dropped} lines were dropped")
            self._dropped = 0
        if lines:
            logger.info("\n".join(lines))
