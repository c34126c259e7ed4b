"""One hub per process hands the event log to everybody who listens here.

It knows who is connected, brings those who come to where the log is, and gives them to one
of its followers. It lives on the event loop; what reads the database runs in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings

from collections_app import events
from collections_app.event_bell import Bell
from collections_app.schema import registry
from core import clock, database
from core.errors import ServiceUnavailable
from realtime import callers, frames, jobs, sight
from realtime.callers import Caller, Credential
from realtime.costs import Cost
from realtime.follower import BATCH, Follower, breathing
from realtime.frames import Frame
from realtime.jobs import JobWatch
from realtime.sight import MEMORY, QUERY
from realtime.subscriptions import Connection, Subscription
from settings_app import seen
from settings_app.declared import MAINTENANCE

RECHECK_SECONDS = 2.0
PAUSE_SECONDS = 0.05
RECHECKED = 200  # credentials at a time; whose are no good any more are ended at once
THREADS = 2  # for those who come
TOO_MUCH = "Your queries take too much of the database's time. Read again what you know, and ask for less."

logger = logging.getLogger("fastcms.realtime")
T = TypeVar("T")


class Hub:
    def __init__(self) -> None:
        self._followers = [Follower(self, rank) for rank in sight.RANKS]
        self._connections: dict[Connection, set[Subscription]] = {}
        self._costs: dict[Connection, Cost] = {}
        self._turns: dict[Connection, asyncio.Lock] = {}  # one look into the past at a time
        self._jobs = JobWatch(self)
        self._ringer = Bell(self._ring)
        self._is_rung = False
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Future[None] | None = None
        self._crew = ThreadPoolExecutor(THREADS, "realtime-in")
        self._past = ThreadPoolExecutor(1, "realtime-past")  # for those who come back and have the database asked
        self._asking = ThreadPoolExecutor(1, "realtime-asks")  # who everybody is by now
        self.loop = asyncio.get_running_loop()
        self.is_closing = False

    @property
    def position(self) -> int:
        """The last event that everybody knows whose rules and queries need no question to the database."""
        return self._followers[MEMORY].position

    def known_to(self, subscription: Subscription) -> int | None:
        """The event up to which it has been told everything; None while it is told of the past."""
        if subscription.group is None:
            return None
        return max(self._followers[subscription.rank].position, subscription.position)

    # --- coming and going --------------------------------------------------------------------

    def enter(self, connection: Connection) -> None:
        """A connection that wants nothing yet; ServiceUnavailable where there are too many, or we are closing."""
        if self.is_closing or len(self._connections) >= settings.REALTIME_MAX_CONNECTIONS:
            raise ServiceUnavailable(headers={"Retry-After": "5"})
        self._connections[connection], self._costs[connection] = set(), Cost()
        self._turns[connection] = asyncio.Lock()

    async def subscribe(self, subscription: Subscription, after: int | None = None) -> None:
        """Have the connection told of everything after that event, or from now on.

        Whatever was told before this returns belongs to the past; ``subscription.position``
        is set when it begins, so ``connected`` can be sent first.
        """
        self._connections[subscription.connection].add(subscription)
        if subscription.collection_id == jobs.JOBS:
            self._jobs.add(subscription)
            return
        subscription.position = self.position if after is None else after
        settled, newest = await self.in_thread(_ends)
        # Another process may be further ahead than we are, but not than the log.
        is_beyond = subscription.position > newest
        if is_beyond or not await self.in_thread(partial(_is_recent, subscription.position, settled)):
            self.begin_again(subscription, self.position)
        # What we are still to look at is told at the client's own pace too.
        while subscription.position < max(self.position, settled) and self.wants(subscription):
            known = subscription.position
            await self._bring(subscription, max(self.position, settled))
            if subscription.position == known:
                await asyncio.sleep(PAUSE_SECONDS)  # somebody writes whose events come before those that we know
        if self.wants(subscription):
            self.place(subscription)

    async def _bring(self, subscription: Subscription, through: int) -> None:
        """Tell it of what it does not know yet, a batch of the log."""
        connection, rank = subscription.connection, subscription.rank
        group = subscription.wanted()
        work = partial(sight.look, subscription.position, [group], through=through, limit=BATCH, rank=rank)
        async with self._turns[connection]:
            crew = self._crew if rank == MEMORY else self._past
            seen = await asyncio.get_running_loop().run_in_executor(crew, work)
        if seen.lost:
            self.begin_again(subscription, self.position)
            return
        for _, frame in seen.frames:
            if not self.wants(subscription):
                return
            connection.deliver(subscription, frame)
            await connection.drained()  # the past may be long, and the client slow
        subscription.rank, subscription.position = seen.beyond.get(group, (rank, seen.position))
        if group in seen.refused:
            self.end(subscription, seen.refused[group])
        elif subscription.collection_id in seen.gone:
            self.end(subscription, sight.DELETED)
        if group in seen.seconds:
            subscription.seconds = seen.seconds[group]
            self.charge({connection: seen.seconds[group]})

    def unsubscribe(self, subscription: Subscription) -> None:
        self._connections.get(subscription.connection, set()).discard(subscription)
        self._followers[subscription.rank].leave_group(subscription)

    def leave(self, connection: Connection) -> None:
        """The client has gone."""
        for subscription in self._connections.pop(connection, ()):
            self._followers[subscription.rank].leave_group(subscription)
        self._costs.pop(connection, None)
        self._turns.pop(connection, None)

    def tell(self, frame: Frame, to: Callable[[Caller], bool]) -> None:
        """A frame that is no part of the log, to every connection whose caller it is for; once for each."""
        for connection in list(self._connections):
            if to(connection.caller):
                connection.tell(frame)

    # --- for the followers ---------------------------------------------------------------------

    def wants(self, subscription: Subscription) -> bool:
        return subscription in self._connections.get(subscription.connection, ())

    def subscriptions(self) -> Iterable[tuple[Connection, set[Subscription]]]:
        return self._connections.items()

    def cost(self, connection: Connection) -> Cost:
        return self._costs.get(connection) or Cost()

    def place(self, subscription: Subscription) -> None:
        follower = self._followers[subscription.rank]
        follower.comers.append(subscription)
        follower.bell.set()

    def begin_again(self, subscription: Subscription, position: int) -> None:
        """There is a gap before that event."""
        subscription.position = position
        self._have_read(subscription, position, sight.LOST)

    def end(self, subscription: Subscription, reason: str) -> None:
        if self.wants(subscription):
            subscription.connection.gone(subscription, reason)

    def charge(self, seconds: Mapping[Connection, float]) -> None:
        """Have it count what queries took; whose take too much are not asked any more."""
        for connection, spent in seconds.items():
            cost = self.cost(connection)
            cost.add(spent)
            if cost.is_too_much:
                logger.info("the queries of a subscriber take too much of the database's time and end")
                for subscription in list(self._connections.get(connection, ())):
                    if subscription.rank == QUERY:
                        position = max(self.position, self.known_to(subscription) or subscription.position)
                        self._have_read(subscription, position, TOO_MUCH)
                        self.end(subscription, TOO_MUCH)

    def _have_read(self, subscription: Subscription, position: int, reason: str) -> None:
        if self.wants(subscription):
            subscription.connection.deliver(subscription, frames.reset(position, None, reason))

    # --- the log -----------------------------------------------------------------------------

    async def ready(self) -> None:
        """Follow the log from here on, if nobody has begun to; raises what keeps us from it."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        try:
            await asyncio.shield(self._starting)
        except Exception:
            self._starting = None
            raise

    async def _start(self) -> None:
        position = await self.in_thread(_settled_id)
        for follower in self._followers:
            follower.position = position
        self._ringer.start()
        work = [*(follower.follow() for follower in self._followers), self._keep_in_touch()]
        self._tasks = [asyncio.create_task(one) for one in work]

    def _ring(self) -> None:
        """In whatever thread knows of new events: the one that has just committed, say."""
        if not self._is_rung:  # else it is on its way
            self._is_rung = True
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_rung = False
        for follower in self._followers:
            follower.bell.set()

    # --- those who listen --------------------------------------------------------------------

    async def _keep_in_touch(self) -> None:
        """Beat the heart, and ask of everybody again who they are."""
        beaten = monotonic()
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._recheck()
            except Exception:
                logger.exception("who listens could not be checked; it is tried again")
            if monotonic() - beaten >= settings.REALTIME_HEARTBEAT_SECONDS:
                beaten = monotonic()
                await breathing(self._connections, lambda connection: connection.beat())

    async def _recheck(self) -> None:
        if seen.value(MAINTENANCE):
            for connection in list(self._connections):
                if not connection.caller.principal.is_admin:
                    connection.end()
        holders: dict[Credential, list[Connection]] = {}
        for connection in self._connections:
            credential = connection.caller.credential
            if credential is not None:
                holders.setdefault(credential, []).append(connection)
        known = [found[0].caller for found in holders.values()]
        for start in range(0, len(known), RECHECKED):
            work = partial(_changed, known[start : start + RECHECKED])
            changed = await asyncio.get_running_loop().run_in_executor(self._asking, work)
            for caller, now in changed:
                assert caller.credential is not None
                if now is None:
                    for connection in holders[caller.credential]:
                        if connection.caller.credential == caller.credential:
                            connection.end()
                    continue
                for follower in self._followers:
                    follower.changed[caller.credential] = now
                    follower.bell.set()

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._crew, work)

    # --- the end -----------------------------------------------------------------------------

    def end_all(self) -> None:
        """Close every connection: the server is about to end. Clients come back, to another one."""
        self.is_closing = True
        for connection in list(self._connections):
            connection.end()

    async def close(self) -> None:
        await asyncio.to_thread(self._ringer.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._jobs.close()
        for follower in self._followers:
            await follower.close()
        for crew in (self._crew, self._past, self._asking):
            await asyncio.to_thread(database.end, crew)


def _settled_id() -> int:
    with database.reading():
        return events.settled_id()


def _ends() -> tuple[int, int]:
    """Up to which event the log is settled, and the newest in it."""
    with database.reading():
        settled = events.settled_id()
        return settled, events.extent()[1]


def _is_recent(event_id: int, settled: int) -> bool:
    """Whether what came after the event is of the last ``REALTIME_RESUME_HOURS``.

    The log holds records as they were: what was withdrawn or deleted long ago is nobody's to read any more.
    """
    with database.reading():
        following = events.read(event_id, 1, settled)
    return not following or following[0].timestamp >= clock.now() - timedelta(hours=settings.REALTIME_RESUME_HOURS)


def _changed(known: list[Caller]) -> list[tuple[Caller, Caller | None]]:
    """Whose credential is no good any more (None), and who is somebody else by now."""
    changed: list[tuple[Caller, Caller | None]] = []
    for caller, principal in zip(known, callers.still(known), strict=True):
        if principal is None:
            changed.append((caller, None))
        elif principal is not caller.principal:
            audience = callers.audience_of(principal)
            # Admins see the same, but a query may ask who they are.
            if audience != caller.audience or (principal.is_admin and principal != caller.principal):
                changed.append((caller, Caller(caller.credential, principal, audience, caller.verified)))
    return changed


def check(collection: str | None, query: str, caller: Caller) -> str | None:
    """The id of the collection that is asked for, or of jobs, where no collection has that name. In a thread;
    raises what :func:`sight.check` and :func:`jobs.check` do, and NotFound."""

    def unit(snapshot: Any) -> str | None:
        if collection == jobs.NAME and jobs.NAME not in snapshot.by_name:
            jobs.check(query, caller.principal)
            return jobs.JOBS
        collection_id = None if collection is None else snapshot.get(collection).id
        sight.check(collection_id, query, caller.principal, snapshot)
        return collection_id

    return registry.with_schema(unit, reads=True)


known: Hub | None = None


def hub() -> Hub:
    """This process's hub, made on its event loop."""
    global known
    if known is None or known.loop is not asyncio.get_running_loop():
        known = Hub()
    return known


def open_now() -> dict[tuple[str, ...], float]:
    """How many connections of each kind (``stream``, ``socket``) this process has."""
    kinds = [type(connection).__name__.lower() for connection, _ in known.subscriptions()] if known is not None else []
    return {(kind,): float(kinds.count(kind)) for kind in ("stream", "socket")}
