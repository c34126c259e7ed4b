"""Group commit: one thread writes for all, many requests with one sync of the disk.

SQLite has one writer at a time, and a commit that survives a power cut waits for
the disk. So requests hand their writes to one thread, which runs what has come
together in one transaction and answers only when that is committed. Each unit of
work is a savepoint: one that fails leaves the others alone. If the transaction
itself fails, nobody has been answered yet, and each unit is run again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection, connections, transaction

from collections_app.records.unit_of_work import group
from core import hashing
from core.error_adapter import let_go_of_cursors
from core.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_JOBS = 128
MAX_SECONDS = 0.010  # of work in one transaction: the first of a group waits no longer for the others
GATHER_SECONDS = 0.0005  # to wait for the next one, where the last group tells that there are several


@dataclass(slots=True)
class _Job:
    """One unit, who waits for it, and how it ended."""

    unit: Callable[[], Any]
    future: asyncio.Future[Any]
    context: Context = field(default_factory=copy_context)
    since: float = field(default_factory=monotonic)
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        self.error = None
        try:
            if monotonic() - self.since > settings.BUSY_TIMEOUT_MS / 1000:
                raise ServiceUnavailable
            self.result = self.context.run(self.unit)
        except BaseException as error:  # noqa: BLE001  # raised where the future is awaited
            # In this thread, which never waits for itself.
            let_go_of_cursors(error)
            self.error = error


class Writer:
    """A thread with an SQLite connection of its own, for the writes of one process."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._size = 1  # of the last group
        self._thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, unit: Callable[[], T]) -> asyncio.Future[T]:
        """What ``unit`` answers or raises, once its writes are on disk.

        It must write by units of work only, each of which may be run again.
        ServiceUnavailable if its turn did not come in time, NotHere where it hashes a
        password: this thread and its lock are everybody's.
        """
        if self._closed:
            raise RuntimeError("This writer is closed.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Job(unit, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, and end the thread with its connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # --- in the thread ---------------------------------------------------------------------

    def _work(self) -> None:
        with hashing.forbidden():
            self._work_off()

    def _work_off(self) -> None:
        try:
            jobs: list[_Job] = []
            while True:
                if not jobs:
                    job = self._queue.get()
                    if job is None:
                        return
                    jobs = [job]
                self._gather(jobs, GATHER_SECONDS if self._size > 1 else 0)
                try:
                    ran = self._commit(jobs)
                except BaseException as error:  # noqa: BLE001  # raised where the futures are awaited
                    let_go_of_cursors(error)
                    # Who has stood in line behind it would begin to wait anew.
                    self._gather(jobs, 0, sys.maxsize)
                    ran = len(jobs)
                    for job in jobs:
                        job.error = error
                self._size = ran
                _deliver(jobs[:ran])
                jobs = jobs[ran:]
        finally:
            connections.close_all()

    def _gather(self, jobs: list[_Job], seconds: float, most: int = MAX_JOBS) -> None:
        """Add the jobs that are there; wait that long for as many as there were the last time."""
        latest = monotonic() + seconds
        while len(jobs) < most:
            left = latest - monotonic() if seconds and len(jobs) < self._size else 0
            try:
                job = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                return
            if job is None:
                self._queue.put(None)  # it is the last one, and ends the loop in _work
                return
            jobs.append(job)

    def _commit(self, jobs: list[_Job]) -> int:
        """Run the jobs, and those that come meanwhile, and commit; answers how many there was time for.

        Raises what kept it from beginning.
        """
        ran = 0
        committed: list[bool] = []
        try:
            with group():
                transaction.on_commit(lambda: committed.append(True), robust=True)
                latest = monotonic() + MAX_SECONDS
                while ran < len(jobs):
                    jobs[ran].run()
                    ran += 1
                    if not connection.connection.in_transaction:
                        transaction.set_rollback(True)  # the disk is full, say: SQLite has rolled back by itself
                    if connection.needs_rollback or monotonic() > latest:
                        break  # others wait for the lock too
                    if ran == len(jobs):
                        self._gather(jobs, 0)
        except Exception:
            if not ran:
                raise
            if committed:
                logger.exception("something failed after a commit")
        if not committed:
            for job in jobs[:ran]:
                job.run()
        return ran


def _deliver(jobs: list[_Job]) -> None:
    """Wake up each event loop once."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, theirs in loops.items():
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, theirs)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue  # whoever asked has gone away
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
