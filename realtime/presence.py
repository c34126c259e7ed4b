"""Who is online: whoever has a stream open that says ``user_id=``.

A token says who that is. A mere ``user_id`` is taken as it comes and is marked
``verified: false``. Verified users are shown to signed-in callers alone; as long as one of
them is there, these callers see nothing of somebody else with the same id. To all others
that one stays: else they could tell by it that the verified one has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from accounts.principals import Principal
from core import clock, ids
from realtime import hub, names
from realtime.attendance import GUEST, USER, Attendance, Entry, Gone, Outcome, Reader, Row, attendance
from realtime.callers import Caller
from realtime.frames import Frame
from realtime.relay import Relay, relay

JOINED, LEFT = "user.joined", "user.left"
SUBJECT = "presence"


class Connection(Protocol):
    @property
    def caller(self) -> Caller: ...


def checked(user_id: str) -> str:
    """The parameter of that name, which may be empty; ValidationFailed for what is no id."""
    return names.checked(user_id, "user_id", names.MAX_USER_ID) if user_id else ""


async def ready() -> None:
    """Hear of those who come to other processes, before anybody is told that they are connected."""
    _presence()
    await relay().ready()


def join(connection: Connection, user_id: str) -> None:
    """The connection has been opened with this ``user_id``; without one it only listens."""
    _presence().join(connection, user_id)


def leave(connection: Connection) -> None:
    """It is gone. Any number of times."""
    if known is not None:
        known.leave(connection)


def sees_verified(principal: Principal) -> bool:
    """Whether they are shown verified users: all who are signed in, but no API key for some collections only."""
    return principal.is_authenticated and (principal.scope is None or principal.scope.collections is None)


def online(reader: Reader, viewer: Principal, part: slice) -> tuple[list[dict[str, Any]], int]:
    """Who is online as the viewer may see it, a part of it in the order of their ids, and how many in all."""
    kinds = dict.fromkeys(reader.names(GUEST), GUEST)
    if sees_verified(viewer):
        kinds.update(dict.fromkeys(reader.names(USER), USER))
    shown = sorted(kinds)[part]
    rows = {
        row.name: _row(row, kind)
        for kind in (USER, GUEST)
        for row in reader.rows(kind, [name for name in shown if kinds[name] == kind])
    }
    return [rows[name] for name in shown if name in rows], len(kinds) - (len(shown) - len(rows))


def of(reader: Reader, viewer: Principal, user_id: str) -> dict[str, Any] | None:
    """The same of one user; None where they are not online, or not to this viewer."""
    for kind in (USER, GUEST) if sees_verified(viewer) else (GUEST,):
        for row in reader.rows(kind, [user_id]):
            return _row(row, kind)
    return None


def _row(row: Row, kind: str) -> dict[str, Any]:
    return _data(row.name, row.data, row.number, row.last_seen, kind)


def _data(user_id: str, data: Mapping[str, Any], connections: int, last_seen: datetime, kind: str) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "user_name": data.get("user_name", user_id),
        "connections": connections,
        "last_seen": clock.isoformat(last_seen),
        "verified": kind == USER,
    }  # fmt: skip


class Presence:
    """This process's part: it tells its clients, and the other processes, who comes and goes."""

    def __init__(self, here: Attendance, others: Relay) -> None:
        self.loop = asyncio.get_running_loop()
        self._attendance, self._relay = here, others
        self._entries: dict[Connection, Entry] = {}
        here.watch(USER, self)
        here.watch(GUEST, self)
        others.listen(SUBJECT, self._heard)

    def join(self, connection: Connection, user_id: str) -> None:
        if not user_id or connection in self._entries:
            return
        principal = connection.caller.principal
        if principal.is_authenticated:
            data = {"user_name": names.name_of(principal)}
            entry = Entry(USER, names.id_of(principal), ids.new_id(), data)
        else:
            entry = Entry(GUEST, user_id, ids.new_id(), {})
        self._entries[connection] = entry
        self._attendance.join(entry).add_done_callback(_then(partial(self._came, entry)))

    def leave(self, connection: Connection) -> None:
        entry = self._entries.pop(connection, None)
        if entry is not None:
            self._attendance.leave(entry).add_done_callback(_then(partial(self._went, entry)))

    # --- for the attendance ----------------------------------------------------------------------

    def struck_out(self, gone: Gone) -> None:
        self._went(gone.entry, gone.outcome)

    def came_back(self, entry: Entry, outcome: Outcome) -> None:
        """While Redis was away its clients have been told, those of other processes may not."""
        if outcome.number == 1:
            self._came(entry, outcome, here=False)

    # --- telling ---------------------------------------------------------------------------------

    def _came(self, entry: Entry, outcome: Outcome, *, here: bool = True) -> None:
        if not outcome.is_done or outcome.number > 1:
            return
        joined = _data(entry.name, entry.data, outcome.number, clock.now(), entry.kind)
        if entry.kind == GUEST:
            self._tell(JOINED, joined, STRANGERS if outcome.beside else ALL, here=here)
            return
        if outcome.beside:
            self._tell(LEFT, _data(entry.name, {}, 0, clock.now(), GUEST), SIGNED_IN, here=here)
        self._tell(JOINED, joined, SIGNED_IN, here=here)

    def _went(self, entry: Entry, outcome: Outcome) -> None:
        if not outcome.is_done or outcome.number:
            return
        left = _data(entry.name, entry.data, 0, clock.now(), entry.kind)
        if entry.kind == GUEST:
            self._tell(LEFT, left, STRANGERS if outcome.beside else ALL)
            return
        self._tell(LEFT, left, SIGNED_IN)
        if outcome.beside:
            self._tell(JOINED, _data(entry.name, {}, outcome.beside, clock.now(), GUEST), SIGNED_IN)

    def _tell(self, event: str, data: dict[str, Any], to: str, *, here: bool = True) -> None:
        self._relay.tell(SUBJECT, event=event, data=data, to=to)
        if here:
            _show(event, data, to)

    def _heard(self, message: dict[str, Any]) -> None:
        _show(message["event"], message["data"], message["to"])


# Who is told: those who are shown verified users, those who are not, or both.
SIGNED_IN, STRANGERS, ALL = "signed_in", "strangers", "all"
_VIEWERS: dict[str, Callable[[Caller], bool]] = {
    SIGNED_IN: lambda caller: sees_verified(caller.principal),
    STRANGERS: lambda caller: not sees_verified(caller.principal),
    ALL: lambda caller: True,
}


def _show(event: str, data: dict[str, Any], to: str) -> None:
    """Tell this process's clients."""
    if hub.known is not None:
        hub.known.tell(Frame(event, data=data), _VIEWERS[to])


def _then(told: Callable[[Outcome], None]) -> Callable[[asyncio.Future[Outcome]], None]:
    def done(future: asyncio.Future[Outcome]) -> None:
        if not future.cancelled():
            told(future.result())

    return done


known: Presence | None = None


def _presence() -> Presence:
    """This process's, made on its event loop."""
    global known
    if known is None or known.loop is not asyncio.get_running_loop():
        known = Presence(attendance(), relay())
    return known
