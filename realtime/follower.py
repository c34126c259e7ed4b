"""Follows the log for all whose events take as much to decide (``sight.RANKS``), in a thread of its own.

Everybody in its groups knows all up to ``position``. Whoever is to join is a comer: brought
to that position if it is behind, and let in between two looks, so nobody misses an event
or gets one twice. Those for whom a look had no time become comers again, so who is
expensive is late, and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from core import database
from realtime import sight
from realtime.callers import Caller, Credential
from realtime.costs import Cost
from realtime.frames import Frame
from realtime.sight import MEMORY, QUERY, Group, Seen
from realtime.subscriptions import Connection, Subscription

POLL_SECONDS = 1.0  # in case nobody rings
BATCH = 500
BREATH = 50  # frames handed out before others get a turn on the event loop
_ASKED = 20  # of those who share a query, when it is to be known whose turn it is

logger = logging.getLogger("fastcms.realtime")

X = TypeVar("X")
Members = Mapping[Group, Iterable[Subscription]]


class House(Protocol):
    """Whose follower it is: knows who is connected, and what they cost."""

    def wants(self, subscription: Subscription) -> bool: ...
    def subscriptions(self) -> Iterable[tuple[Connection, set[Subscription]]]: ...
    def cost(self, connection: Connection) -> Cost: ...
    def place(self, subscription: Subscription) -> None:
        """Have it come to the follower of its rank."""

    def begin_again(self, subscription: Subscription, position: int) -> None: ...
    def end(self, subscription: Subscription, reason: str) -> None: ...
    def charge(self, seconds: Mapping[Connection, float]) -> None: ...


class Follower:
    def __init__(self, house: House, rank: int) -> None:
        self.position = 0
        self.groups: dict[Group, dict[Subscription, None]] = {}
        self.comers: list[Subscription] = []
        self.changed: dict[Credential, Caller] = {}  # who is somebody else by now
        self.bell = asyncio.Event()
        self._house, self._rank = house, rank
        self._by_key: dict[Hashable, Group] = {}
        self._thread = ThreadPoolExecutor(1, f"realtime-follows-{rank}")

    async def follow(self) -> None:
        while True:
            try:
                while await self.step():
                    pass
            except Exception:
                logger.exception("the event log could not be read; it is tried again")
                await asyncio.sleep(POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.bell.wait()

    async def step(self) -> bool:
        """Let in who has come, and hand out what came next; whether there may be more."""
        self.bell.clear()
        self._regroup()
        if not self.groups and self._rank != MEMORY:
            # Nobody is where we are, so we can be anywhere.
            self.comers = [one for one in self.comers if self._house.wants(one)]
            if not self.comers:
                return False
            self.position = max(one.position for one in self.comers)
        await self._let_in()
        groups = self._in_turn(self.groups)
        seen = await self._look(partial(sight.look, self.position, groups))
        if seen.lost:
            logger.warning("the event log does not go on from %d, but from %d", self.position, seen.position)
            self.position = seen.position
            members = [one for group in groups for one in self.groups.get(group, ())]
            await breathing(members, lambda one: self._house.begin_again(one, self.position))
            return True
        await self._hand_out(seen.frames)
        moved = seen.position > self.position
        self.position = seen.position  # not before: whoever looks takes everything up to there as told
        self._conclude(seen, {group: list(self.groups.get(group, ())) for group in self._concerned(seen, groups)})
        return moved or any(one.position < self.position for one in self.comers)

    async def close(self) -> None:
        await asyncio.to_thread(database.end, self._thread)

    # --- those who listen --------------------------------------------------------------------

    def enter_group(self, subscription: Subscription) -> None:
        wanted = subscription.wanted()
        subscription.group = self._by_key.setdefault(wanted.key, wanted)
        self.groups.setdefault(subscription.group, {})[subscription] = None

    def leave_group(self, subscription: Subscription) -> None:
        group, subscription.group = subscription.group, None
        if group is not None:
            members = self.groups[group]
            del members[subscription]
            if not members:
                del self.groups[group], self._by_key[group.key]

    def _regroup(self) -> None:
        """Put those who are somebody else by now where they belong; between two looks, or they would miss one."""
        changed, self.changed = self.changed, {}
        for connection, subscriptions in self._house.subscriptions() if changed else ():
            credential = connection.caller.credential
            now = None if credential is None else changed.get(credential)
            if now is not None:
                connection.caller = now
                for subscription in subscriptions:
                    if subscription.rank == self._rank and subscription.group is not None:
                        self.leave_group(subscription)
                        self.enter_group(subscription)

    # --- the log -----------------------------------------------------------------------------

    async def _look(self, work: partial[Seen]) -> Seen:
        work = partial(work, limit=BATCH, rank=self._rank, may_leave=self._rank == QUERY)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _hand_out(self, found: Iterable[tuple[Group, Frame]]) -> None:
        told = 0
        for group, frame in found:
            assert frame.id is not None
            for subscription in list(self.groups.get(group, ())):
                # Others get their turns between: it may have gone meanwhile. And it may have known more than we did.
                if subscription.group is group and subscription.position < frame.id:
                    subscription.connection.deliver(subscription, frame)
                    told += 1
                    if told % BREATH == 0:
                        await asyncio.sleep(0)

    async def _let_in(self) -> None:
        """Those who know all that we know, or more. The others are told of the rest first, in a look for all."""
        behind = [one for one in self.comers if one.position < self.position and self._house.wants(one)]
        if behind:
            await self._bring(behind)
        comers, self.comers = self.comers, []
        for one in comers:
            if self._house.wants(one) and one.rank == self._rank:
                if one.position < self.position:
                    self.comers.append(one)
                else:
                    self.enter_group(one)

    async def _bring(self, behind: list[Subscription]) -> None:
        wanted: dict[Hashable, tuple[Group, list[Subscription]]] = {}
        for one in behind:
            group = one.wanted()
            wanted.setdefault(group.key, (group, []))[1].append(one)
        ones = dict(wanted.values())
        known = {group: min(one.position for one in members) for group, members in ones.items()}
        groups = self._in_turn(ones)
        # Those whose turn it is first would else wait for all who are further behind.
        start = known[groups[0]] if self._rank == QUERY else min(known.values())
        groups = [group for group in groups if known[group] >= start]
        through = self.position
        seen = await self._look(partial(sight.look, start, groups, through=through, known=known))
        if seen.lost:
            for one in [one for group in groups for one in ones[group] if self._house.wants(one)]:
                self._house.begin_again(one, through)
            return
        for group, frame in seen.frames:
            assert frame.id is not None
            for one in ones[group]:
                if one.position < frame.id and self._house.wants(one):
                    one.connection.deliver(one, frame)
        for group in groups:
            if group not in seen.behind and group not in seen.beyond:
                for one in ones[group]:
                    one.position = max(one.position, seen.position)
        self._conclude(seen, {group: ones[group] for group in self._concerned(seen, groups)})

    def _concerned(self, seen: Seen, groups: Iterable[Group]) -> set[Group]:
        gone = [group for group in groups if group.collection_id in seen.gone] if seen.gone else []
        return {*gone, *seen.refused, *seen.behind, *seen.beyond, *seen.seconds}

    def _conclude(self, seen: Seen, members: Mapping[Group, list[Subscription]]) -> None:
        """What becomes of these after a look, without a pause since ``position`` was set."""
        charges: dict[Connection, float] = {}
        for group, seconds in seen.seconds.items():
            for one in members[group]:
                one.seconds = seconds
                charges[one.connection] = charges.get(one.connection, 0.0) + seconds / len(members[group])
        rest = {group: (self._rank, position) for group, position in seen.behind.items()} | seen.beyond
        for group, (rank, position) in rest.items():
            for one in members[group]:
                is_comer = one.group is None
                if not is_comer:
                    self.leave_group(one)
                one.position = max(one.position, position)
                if rank != self._rank or not is_comer:
                    one.rank = rank
                    self._house.place(one)
        for group, ones in members.items():
            reason = seen.refused.get(group) or (sight.DELETED if group.collection_id in seen.gone else "")
            for one in ones if reason else ():
                self._house.end(one, reason)
        self._house.charge(charges)

    def _in_turn(self, groups: Members) -> list[Group]:
        """Those first whose connections have cost least lately, and of each connection one after the other."""
        if self._rank != QUERY:
            return list(groups)
        due: dict[Connection, float] = {}
        found: list[tuple[float, Group]] = []
        firsts = [(group, list(islice(members, _ASKED))) for group, members in groups.items()]
        for group, few in sorted(firsts, key=lambda one: one[1][0].seconds):
            for one in few:
                if one.connection not in due:
                    due[one.connection] = self._house.cost(one.connection).seconds
            first = min((one.connection for one in few), key=due.__getitem__)
            found.append((due[first], group))
            due[first] += few[0].seconds
        return [group for _, group in sorted(found, key=lambda one: one[0])]


async def breathing(those: Iterable[X], action: Callable[[X], None]) -> None:
    for number, one in enumerate(list(those), 1):
        action(one)
        if number % BREATH == 0:
            await asyncio.sleep(0)
