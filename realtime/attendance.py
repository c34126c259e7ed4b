"""Who is here, over all processes: connections under names (users, clients, rooms, seats).

A process keeps a book of its own connections. With Redis there is one more that all
share (:mod:`realtime.attendance_redis`), and that one decides who was the first to come,
who the last to leave, and whose a name is; while Redis is away each process decides for
itself. A process that dies is struck out of the shared book within
``REALTIME_LEASE_SECONDS``, by whichever other one looks first, which tells of it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from django.conf import settings

from core import clock

BATCH = 200  # changes that are written at once
PAUSE_SECONDS = 2.0  # before Redis is tried again
LOOK_SECONDS = 3.0  # how often we see to it that Redis, which may have lost everything, knows of us
PATIENCE_SECONDS = 2.0  # for what is still to be written when the process ends
GUEST, USER = "guest", "user"
BESIDE = {GUEST: USER, USER: GUEST}  # whose number under the same name is told with one's own

logger = logging.getLogger("fastcms.realtime")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection under a name of a kind. ``data`` is what others may read of it, as JSON.

    Where ``owner`` is set the name is theirs as long as they are there: nobody else comes in.
    Who is ``proven`` turns those out who are not.
    """

    kind: str
    name: str
    connection: str
    data: Mapping[str, Any]
    owner: str = ""
    proven: bool = False

    @property
    def place(self) -> tuple[str, str]:
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Change:
    entry: Entry
    is_coming: bool


class Outcome(NamedTuple):
    """After a change: how many are there (``number``), ``beside`` of the sister kind (:data:`BESIDE`), in all of
    the kind (``total``); whether the name was somebody else's (``is_refused``), whether anything changed
    (``is_done``), and which connections had to make room (``evicted``)."""

    number: int
    beside: int
    total: int
    is_done: bool
    is_refused: bool = False
    evicted: tuple[str, ...] = ()


class Gone(NamedTuple):
    """An entry that somebody else struck out, and what was left then."""

    entry: Entry
    outcome: Outcome


class Row(NamedTuple):
    """How many are under a name, the data of one of them, and when they were last known to be there."""

    name: str
    number: int
    data: dict[str, Any]
    last_seen: datetime


class Reader(Protocol):
    """What anybody may ask, in any thread."""

    def names(self, kind: str) -> list[str]:
        """All names with somebody under them, in order."""

    def rows(self, kind: str, names: Sequence[str]) -> list[Row]:
        """Those of the names with somebody under them."""

    def data(self, kind: str, name: str, limit: int) -> list[dict[str, Any]]:
        """What is known of those under the name; ``limit`` of them at the most."""


class Shared(Reader, Protocol):
    """The book that all processes share. All of it raises whatever Redis being away makes it raise."""

    async def enter(self, process: str) -> None:
        """The process is there from now on, for ``REALTIME_LEASE_SECONDS``."""

    async def write(self, process: str, changes: Sequence[Change]) -> list[Outcome] | None:
        """All changes at once; None, and nothing is done, where the process has been struck out."""

    async def renew(self, process: str) -> bool:
        """Stay for another ``REALTIME_LEASE_SECONDS``; False where the process has been struck out."""

    async def strike_out(self, process: str | None) -> list[Gone] | None:
        """A part of what the process has, or one that is overdue; None when nothing is left of it."""

    async def close(self) -> None: ...


class LocalBook:
    """The connections of this process."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], dict[str, Entry]] = {}
        self._holders: dict[tuple[str, str], tuple[str, bool]] = {}
        self._names: dict[str, list[str]] = {}
        self._totals: dict[str, int] = {}
        self._lock = threading.Lock()

    def write(self, changes: Iterable[Change]) -> list[Outcome]:
        with self._lock:
            return [self._come(change.entry) if change.is_coming else self._go(change.entry) for change in changes]

    def note(self, changes: Iterable[Change], outcomes: Iterable[Outcome]) -> None:
        """Write down what the shared book has decided."""
        with self._lock:
            for change, outcome in zip(changes, outcomes, strict=True):
                if not change.is_coming:
                    self._remove(change.entry)
                elif not outcome.is_refused:
                    if change.entry.owner:
                        self._holders[change.entry.place] = (change.entry.owner, change.entry.proven)
                    self._put(change.entry)

    def all(self) -> list[Entry]:
        with self._lock:
            return [entry for place in self._places.values() for entry in place.values()]

    def names(self, kind: str) -> list[str]:
        with self._lock:
            return list(self._names.get(kind, ()))

    def rows(self, kind: str, names: Sequence[str]) -> list[Row]:
        now = clock.now()
        with self._lock:
            found = [(name, self._places.get((kind, name))) for name in names]
            return [Row(name, len(there), dict(next(iter(there.values())).data), now) for name, there in found if there]

    def data(self, kind: str, name: str, limit: int) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(entry.data) for entry in list(self._places.get((kind, name), {}).values())[:limit]]

    def _come(self, entry: Entry) -> Outcome:
        holder = self._holders.get(entry.place) if entry.owner else None
        evicted: tuple[str, ...] = ()
        if holder is not None and holder != (entry.owner, entry.proven):
            if holder[1] or not entry.proven:
                return self._outcome(entry, is_done=False)._replace(is_refused=True)
            there = list(self._places[entry.place].values())
            evicted = tuple(other.connection for other in there)
            for other in there:
                self._remove(other)
        if entry.owner:
            self._holders[entry.place] = (entry.owner, entry.proven)
        is_new = self._put(entry)
        return self._outcome(entry, is_done=is_new)._replace(evicted=evicted)

    def _go(self, entry: Entry) -> Outcome:
        is_done = self._remove(entry)
        return self._outcome(entry, is_done=is_done)

    def _put(self, entry: Entry) -> bool:
        there = self._places.get(entry.place)
        if there is None:
            there = self._places[entry.place] = {}
            insort(self._names.setdefault(entry.kind, []), entry.name)
        is_new = entry.connection not in there
        there[entry.connection] = entry
        self._totals[entry.kind] = self._totals.get(entry.kind, 0) + is_new
        return is_new

    def _remove(self, entry: Entry) -> bool:
        there = self._places.get(entry.place)
        if there is None or there.pop(entry.connection, None) is None:
            return False
        self._totals[entry.kind] -= 1
        if not there:
            del self._places[entry.place]
            self._names[entry.kind].remove(entry.name)
            self._holders.pop(entry.place, None)
        return True

    def _outcome(self, entry: Entry, *, is_done: bool) -> Outcome:
        beside = BESIDE.get(entry.kind, "")
        return Outcome(
            len(self._places.get(entry.place, ())),
            len(self._places.get((beside, entry.name), ())),
            self._totals.get(entry.kind, 0),
            is_done,
        )


class Watcher(Protocol):
    """Who wants to know what happens to entries of a kind otherwise than by their own doing."""

    def struck_out(self, gone: Gone) -> None:
        """The entry of a process that died is gone; told in one process."""

    def came_back(self, entry: Entry, outcome: Outcome) -> None:
        """Our own entry is in the shared book again; ``is_refused`` where the name has become another's."""


class Attendance:
    """This process's part. It lives on the event loop; changes are written in the order in which they come."""

    def __init__(self, shared: Shared | None = None) -> None:
        self.local = LocalBook()
        self.loop = asyncio.get_running_loop()
        self._shared = shared
        self._process = ""
        self._is_in = False  # the shared book, with all that is in the local one
        self._try_at = 0.0
        self._waiting: list[tuple[Change, asyncio.Future[Outcome]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._watchers: dict[str, Watcher] = {}
        self._keeping: asyncio.Task[None] | None = None
        if shared is not None:
            self._keeping = self.loop.create_task(self._keep(shared))

    # --- changes -------------------------------------------------------------------------------

    def join(self, entry: Entry) -> asyncio.Future[Outcome]:
        return self._change(Change(entry, is_coming=True))

    def leave(self, entry: Entry) -> asyncio.Future[Outcome]:
        """It need not be there."""
        return self._change(Change(entry, is_coming=False))

    def watch(self, kind: str, watcher: Watcher) -> None:
        self._watchers[kind] = watcher

    async def close(self) -> None:
        """Write what is left, and be struck out of the shared book, which is told."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=PATIENCE_SECONDS)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._shared is not None:
            try:
                if self._is_in:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._strike_out(self._shared, self._process)
            except Exception as fault:  # noqa: BLE001 - the others will notice that we are gone
                logger.warning("Redis is away, others will find out who was here: %r", fault)
            await self._shared.close()

    def _change(self, change: Change) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = self.loop.create_future()
        self._waiting.append((change, future))
        if self._writing is None:
            self._writing = self.loop.create_task(self._write())
        return future

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                async with self._turn:
                    outcomes = await self._written([change for change, _ in batch])
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if not future.done():  # whoever asked may have been cancelled
                        future.set_result(outcome)
        finally:
            self._writing = None

    async def _written(self, changes: list[Change]) -> list[Outcome]:
        shared = self._shared
        if shared is not None:
            try:
                if not self._is_in and self._try_at == 0.0:
                    await self._come_back(shared)  # for the first time
                outcomes = await shared.write(self._process, changes) if self._is_in else None
                if outcomes is None and self._is_in:
                    await self._come_back(shared)
                    outcomes = await shared.write(self._process, changes)
                if outcomes is not None:
                    self.local.note(changes, outcomes)
                    return outcomes
            except Exception as fault:  # noqa: BLE001 - whatever is wrong with Redis, people come and go
                self._lose(fault)
        return self.local.write(changes)

    # --- the shared book -------------------------------------------------------------------------

    async def _keep(self, shared: Shared) -> None:
        """Stay in the shared book, and strike out whoever did not."""
        lease = settings.REALTIME_LEASE_SECONDS
        while True:
            try:
                async with self._turn:
                    if not self._is_in:
                        if monotonic() >= self._try_at:
                            await self._come_back(shared)
                    elif not await shared.renew(self._process):
                        await self._come_back(shared)
                if self._is_in:
                    await self._strike_out(shared, None)
            except Exception as fault:  # noqa: BLE001 - as above
                self._lose(fault)
            await asyncio.sleep(min(LOOK_SECONDS if self._is_in else PAUSE_SECONDS, lease / 3))

    async def _come_back(self, shared: Shared) -> None:
        """Put all of ours into the shared book under a new name of the process, then strike out the old one.

        In this order nobody who has been here all the time is gone for a moment.
        """
        old, self._process = self._process, new_process()
        await shared.enter(self._process)
        changes = [Change(entry, is_coming=True) for entry in self.local.all()]
        for start in range(0, len(changes), BATCH):
            batch = changes[start : start + BATCH]
            outcomes = await shared.write(self._process, batch)
            if outcomes is None:
                raise ConnectionError("struck out while coming back")
            for change, outcome in zip(batch, outcomes, strict=True):
                if outcome.is_refused:
                    self.local.write([replace(change, is_coming=False)])
                watcher = self._watchers.get(change.entry.kind)
                if watcher is not None:
                    self.loop.call_soon(watcher.came_back, change.entry, outcome)
        if old:
            await self._strike_out(shared, old)
            logger.warning("Redis is back, all processes know again who is here")
        self._is_in, self._try_at = True, 1.0

    async def _strike_out(self, shared: Shared, process: str | None) -> None:
        while (gone := await shared.strike_out(process)) is not None:
            for one in gone:
                watcher = self._watchers.get(one.entry.kind)
                if watcher is not None:
                    self.loop.call_soon(partial(watcher.struck_out, one))

    def _lose(self, fault: Exception) -> None:
        if self._is_in or self._try_at == 0.0:
            logger.warning("Redis is away, each process knows only who is here by itself: %r", fault)
        self._is_in, self._try_at = False, monotonic() + PAUSE_SECONDS


def new_process() -> str:
    """A name for this process, as long as it stays in the shared book."""
    return secrets.token_hex(8)


known: Attendance | None = None
_shared_reader: Reader | None = None
_ask_at = 0.0  # when Redis may be asked again


def attendance() -> Attendance:
    """This process's, made on its event loop."""
    global known
    if known is None or known.loop is not asyncio.get_running_loop():
        known = Attendance(_shared_book() if settings.REDIS_URL else None)
    return known


def ask(question: Callable[[Reader], T]) -> T:
    """In a thread: what the shared book says, or that of this process while there is no other."""
    global _shared_reader, _ask_at
    if settings.REDIS_URL and monotonic() >= _ask_at:
        if _shared_reader is None:
            _shared_reader = _shared_book()
        try:
            return question(_shared_reader)
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with Redis, there is an answer
            logger.warning("Redis is away, only those who are here by this process are shown: %r", fault)
            _ask_at = monotonic() + PAUSE_SECONDS
    return question(LocalBook() if known is None else known.local)


def _shared_book() -> Shared:
    from realtime.attendance_redis import RedisBook  # loads the Redis client, which most do without

    return RedisBook(settings.REDIS_URL, settings.REALTIME_LEASE_SECONDS)
