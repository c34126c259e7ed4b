"""A gate that all processes of an installation on one machine pass, and that one of them may close.

While it is closed requests are answered with 503, and what was begun before has come to its end: in every
process, whoever of them dies over it. Two locks of files do that, which the system lets go of with their
process: one is held, shared, by every process that lets requests in; the other by whoever wants the gate
closed. Each process looks a few times a second whether somebody does, lets nobody in any more, waits for those
who are inside, and lets go of the first lock; who wants to be alone waits for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from django.conf import settings
from django.core.management import CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from core import background, database
from core.errors import ServiceUnavailable

LOOK_SECONDS = 0.2
DRAIN_SECONDS = 60.0  # that those inside get to come to their end
PAUSE_SECONDS = 0.02
OTHERS_SECONDS = 2.0  # that somebody else may want to be alone before the second one is refused
RETRY_AFTER = 5
CLOSED = "The site is being restored from a backup. Please try again in a moment."
NOT_EMPTY = "What was begun before did not come to its end within {:g} seconds. Nothing was changed; please try again."

logger = logging.getLogger("fastcms.gate")


class Closed(ServiceUnavailable):
    default_message = CLOSED

    def __init__(self) -> None:
        super().__init__(retry_after=RETRY_AFTER)


def _path(which: str) -> Path:
    """Beside the file of SQLite, for all who have it; else where the installation keeps its state."""
    config = connections[DEFAULT_DB_ALIAS].settings_dict
    if "sqlite" in config["ENGINE"]:
        database = Path(str(config["NAME"]))
        return database.with_name(f"{database.name}.{which}")
    return Path(settings.DATA_DIR) / f"database.{which}"


def _opened(which: str) -> IO[bytes]:
    path = _path(which)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb+")


def _try(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Gate:
    """This process's side of it, on its event loop. Before :meth:`start` it is open, and nobody else's affair.

    ``inside`` are the requests that may change something; they come and go on the event loop.
    """

    def __init__(self) -> None:
        self.is_open = True
        self.inside = 0
        self._gate: IO[bytes] | None = None
        self._wanted: IO[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._holds = False  # the lock of those who let requests in
        self._stopping: asyncio.Task[None] | None = None  # what the worker had under way; it goes on when that is done

    async def start(self) -> None:
        """Take part; comes back when the gate is open."""
        self._gate, self._wanted = _opened("gate"), _opened("gate-wanted")
        while self._is_wanted() or not _try(self._gate, fcntl.LOCK_SH):
            await asyncio.sleep(PAUSE_SECONDS)
        self._holds = True
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for file in (self._gate, self._wanted):
            if file is not None:
                file.close()
        self._task = self._gate = self._wanted = self._stopping = None
        self._holds, self.is_open = False, True

    def _is_wanted(self) -> bool:
        assert self._wanted is not None
        if not _try(self._wanted, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._wanted, fcntl.LOCK_UN)
        return False

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._is_wanted():
                    await self._stand_aside()
                # Also what a fault has left undone: a process is open with its lock, or not at all.
                self._come_back()
            except Exception:
                logger.exception("the gate could not be looked after; it is tried again")

    async def _stand_aside(self) -> None:
        """Let nobody in, and let go of the lock when nothing is under way, until nobody wants to be alone."""
        assert self._gate is not None
        if self.is_open:
            self.is_open = False
            logger.warning("the gate is closed: requests are answered with 503")
        if self._stopping is None and background.worker.is_running:
            # Beside the look: tasks with much to do leave the rest for later, but one may last for minutes.
            self._stopping = asyncio.create_task(asyncio.to_thread(background.worker.stop))
        while self._is_wanted():
            if self._holds and not self.inside and (self._stopping is None or self._stopping.done()):
                fcntl.flock(self._gate, fcntl.LOCK_UN)
                self._holds = False
            await asyncio.sleep(PAUSE_SECONDS)

    def _come_back(self) -> None:
        """Let requests in, and have the worker go on where it has come to its end."""
        assert self._gate is not None
        if not self._holds:
            if not _try(self._gate, fcntl.LOCK_SH):
                return  # somebody else was quicker: the next look sees it
            self._holds = True
            database.renew()
        if not self.is_open:
            self.is_open = True
            logger.warning("the gate is open again")
        if self._stopping is not None and self._stopping.done():
            self._stopping = None
            background.worker.start()


gate = Gate()


@contextmanager
def closed() -> Iterator[None]:
    """Nobody is inside, in any process, until the end of the block.

    ServiceUnavailable where somebody else wants that too, or those inside stay too long.
    """
    with _opened("gate-wanted") as wanted, _opened("gate") as whole:
        latest = monotonic() + OTHERS_SECONDS
        while not _try(wanted, fcntl.LOCK_EX):  # a process that looks has it for an instant
            if monotonic() > latest:
                raise ServiceUnavailable("Another restore is under way.")
            sleep(PAUSE_SECONDS)
        latest = monotonic() + DRAIN_SECONDS
        while not _try(whole, fcntl.LOCK_EX):
            if monotonic() > latest:
                raise ServiceUnavailable(NOT_EMPTY.format(DRAIN_SECONDS))
            sleep(PAUSE_SECONDS)
        yield


@contextmanager
def passing() -> Iterator[bool]:
    """For work outside of a server: whether it may be done now, and the gate stays open for it if so."""
    with _opened("gate-wanted") as wanted, _opened("gate") as whole:
        may = _try(wanted, fcntl.LOCK_SH) and _try(whole, fcntl.LOCK_SH)
        fcntl.flock(wanted, fcntl.LOCK_UN)
        yield may


@contextmanager
def kept_open() -> Iterator[None]:
    """Around the ``handle`` of a command that writes: CommandError while the gate is closed; else it stays open."""
    with passing() as may:
        if not may:
            raise CommandError(CLOSED)
        yield
