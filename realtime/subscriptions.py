"""Who is told of events, and of which."""

from __future__ import annotations

from typing import Protocol

from realtime.callers import Caller
from realtime.frames import Frame
from realtime.sight import MEMORY, QUERY_SECONDS, Group


class Connection(Protocol):
    """A client. ``deliver`` never waits; ``drained`` does, until the client has taken what it was sent."""

    caller: Caller

    def deliver(self, subscription: Subscription, frame: Frame) -> None: ...
    def tell(self, frame: Frame) -> None:
        """The frame is no part of the log."""

    async def drained(self) -> None: ...
    def beat(self) -> None: ...
    def end(self) -> None: ...

    def gone(self, subscription: Subscription, reason: str) -> None:
        """It is told nothing more, because its collection was deleted, say."""


class Subscription:
    """What one connection wants to know; ``position`` is the last event that it knew when it was let in."""

    __slots__ = ("_wanted", "collection_id", "connection", "group", "name", "position", "query", "rank", "seconds")

    def __init__(self, connection: Connection, collection_id: str | None, query: str = "", name: str = "") -> None:
        self.connection, self.collection_id, self.query, self.name = connection, collection_id, query, name
        self.position = 0
        self.rank = MEMORY  # as far as is known; it only rises
        self.seconds = QUERY_SECONDS  # of the database's time for its query in one look; until it is known, the worst
        self.group: Group | None = None  # once it is let in
        self._wanted: tuple[Caller, Group] | None = None

    def wanted(self) -> Group:
        """A group of its own, or that of all who want the same; with all that was found out about it."""
        caller = self.connection.caller
        if self._wanted is None or self._wanted[0] is not caller:
            self._wanted = caller, Group(self.collection_id, self.query, caller.audience, caller.principal)
        return self._wanted[1]
