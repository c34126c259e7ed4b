"""Conversations: who is connected to this process's rooms, and how what is said gets to them.

``/ws/{client_id}`` (:class:`realtime.talk.Client`) is about rooms that a client joins and
leaves; ``/ws/chat/{room_id}`` (:class:`realtime.talk.Guest`) is one room with a socket of
its own. The rooms of the two have nothing to do with each other, and none has anything to
do with the event log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from accounts.principals import ANONYMOUS, Principal
from core import ids, json
from realtime import attendance as book
from realtime import names
from realtime.attendance import Attendance, Entry, Gone, Outcome, attendance
from realtime.relay import Relay, relay

SOCKET, ROOM, CHAT = "socket", "room", "chat"  # kinds of entries: a name that is taken, who is where
MAX_ROOMS = 50  # of a client
MAX_MEMBERS = 1000  # that are listed
SUBJECT = "rooms"
_APART = "\x1f"  # in no name: it is not printable


@dataclass(frozen=True, slots=True)
class Speaker:
    """Under which name somebody speaks; an account's where they have shown whose they are."""

    client_id: str
    principal: Principal = ANONYMOUS

    @property
    def is_proven(self) -> bool:
        return self.principal.is_authenticated

    def signature(self) -> dict[str, Any]:
        """``from``, and where it is an account, that it is."""
        signed: dict[str, Any] = {"from": self.client_id}
        return signed | self._proof()

    def as_member(self) -> dict[str, Any]:
        return {"client_id": self.client_id} | self._proof()

    def _proof(self) -> dict[str, Any]:
        return {"verified": True, "name": names.name_of(self.principal)} if self.is_proven else {}


class Socket(Protocol):
    """A client's connection; neither of these waits."""

    @property
    def speaker(self) -> Speaker: ...

    def put(self, text: bytes) -> None:
        """Send it after what is on its way already."""

    def turn_out(self) -> None:
        """The name has become somebody else's."""


@dataclass(slots=True, eq=False)
class Seat:
    """A socket's place: in a chat room (``chat``), or among the clients who join rooms."""

    socket: Socket
    chat: str | None
    connection: str = field(default_factory=ids.new_id)
    rooms: set[str] = field(default_factory=set)

    def taken_name(self) -> Entry:
        """Names are taken in each chat room, and among the other clients."""
        speaker = self.socket.speaker
        name = speaker.client_id if self.chat is None else f"{self.chat}{_APART}{speaker.client_id}"
        owner = speaker.principal.key if speaker.is_proven else self.connection
        data = speaker.as_member() | ({} if self.chat is None else {"chat": self.chat})
        return Entry(SOCKET, name, self.connection, data, owner, speaker.is_proven)

    def member(self, kind: str, room: str) -> Entry:
        return Entry(kind, room, self.connection, self.socket.speaker.as_member())


class Rooms:
    """Of one process, on its event loop. What is said here is heard here at once, elsewhere by the relay."""

    def __init__(self, here: Attendance, others: Relay) -> None:
        self.loop = asyncio.get_running_loop()
        self._attendance, self._relay = here, others
        self._seats: dict[str, Seat] = {}  # by connection
        self._clients: dict[str, set[Seat]] = {}  # those who join rooms, by what they are called
        self._members: dict[tuple[str, str], set[Seat]] = {}  # by kind and name of the room
        for kind in (SOCKET, ROOM, CHAT):
            here.watch(kind, self)
        others.listen(SUBJECT, self._heard)

    # --- coming and going ------------------------------------------------------------------------

    async def come(self, seat: Seat) -> Outcome:
        """Take the name; the outcome ``is_refused`` where it is somebody else's. ``total``: all there are."""
        await self._relay.ready()
        self._seats[seat.connection] = seat
        outcome = await self._attendance.join(seat.taken_name())
        if not outcome.is_refused:
            self._turn_out(outcome.evicted)
            self._relay_turned_out(outcome.evicted)
            if seat.chat is None:
                self._clients.setdefault(seat.socket.speaker.client_id, set()).add(seat)
        return outcome

    def go(self, seat: Seat) -> None:
        """The socket is gone. Any number of times."""
        if self._seats.pop(seat.connection, None) is None:
            return
        _discard(self._clients, seat.socket.speaker.client_id, seat)
        for room in list(seat.rooms):
            self._leave(seat, ROOM, room)
        if seat.chat is not None:
            self._leave(seat, CHAT, seat.chat)
        entry = seat.taken_name()
        self._attendance.leave(entry).add_done_callback(partial(self._gone, entry))

    async def join(self, seat: Seat, kind: str, room: str) -> None:
        if kind == ROOM:
            seat.rooms.add(room)
        self._members.setdefault((kind, room), set()).add(seat)
        await self._attendance.join(seat.member(kind, room))

    async def leave(self, seat: Seat, room: str) -> None:
        seat.rooms.discard(room)
        await self._leave(seat, ROOM, room)

    async def members(self, kind: str, room: str) -> list[str]:
        """What the members are called; :data:`MAX_MEMBERS` of them at the most."""
        question: Callable[[book.Reader], list[dict[str, Any]]]
        question = lambda reader: reader.data(kind, room, MAX_MEMBERS)  # noqa: E731
        found = await asyncio.to_thread(book.ask, question)
        return sorted({member["client_id"] for member in found})

    # --- saying ----------------------------------------------------------------------------------

    def say(self, kind: str, room: str, message: Mapping[str, Any], but: Seat | None = None) -> None:
        """To all who are in the room."""
        text = json.dumps(message)
        self._relay.tell(SUBJECT, to=kind, name=room, text=text.decode())
        _hand(self._members.get((kind, room), ()), text, but)

    def broadcast(self, message: Mapping[str, Any], but: Seat) -> None:
        """To all clients that join rooms, whatever rooms they are in."""
        text = json.dumps(message)
        self._relay.tell(SUBJECT, to="all", name="", text=text.decode())
        for seats in list(self._clients.values()):
            _hand(seats, text, but)

    async def whisper(self, client_id: str, message: Mapping[str, Any]) -> bool:
        """To one client, on all its connections; False where nobody is called that."""
        text = json.dumps(message)
        here = self._clients.get(client_id, ())
        is_anywhere = bool(here) or bool(
            await asyncio.to_thread(book.ask, lambda reader: reader.rows(SOCKET, [client_id]))
        )
        if is_anywhere:
            self._relay.tell(SUBJECT, to="client", name=client_id, text=text.decode())
            _hand(here, text, None)
        return is_anywhere

    def _heard(self, message: dict[str, Any]) -> None:
        """What is said in another process."""
        to, name = message["to"], message["name"]
        if to == "out":
            self._turn_out(message["connections"])
            return
        text = message["text"].encode()
        if to == "all":
            for seats in list(self._clients.values()):
                _hand(seats, text, None)
        else:
            _hand(self._clients.get(name, ()) if to == "client" else self._members.get((to, name), ()), text, None)

    # --- for the attendance ----------------------------------------------------------------------

    def struck_out(self, gone: Gone) -> None:
        self._tell_of_leaving(gone.entry, gone.outcome)

    def came_back(self, entry: Entry, outcome: Outcome) -> None:
        """While Redis was away somebody in another process may have come under the same name."""
        if outcome.is_refused:
            self._turn_out([entry.connection])
        self._turn_out(outcome.evicted)
        self._relay_turned_out(outcome.evicted)

    def _gone(self, entry: Entry, future: asyncio.Future[Outcome]) -> None:
        if not future.cancelled():
            self._tell_of_leaving(entry, future.result())

    def _tell_of_leaving(self, entry: Entry, outcome: Outcome) -> None:
        """A name that was taken in a chat room is free: who had it has left."""
        chat = entry.data.get("chat")
        if entry.kind == SOCKET and chat is not None and outcome.is_done and not outcome.number:
            self.say(CHAT, chat, about("user_left", chat, entry.data))

    def _turn_out(self, connections: Iterable[str]) -> None:
        for connection in connections:
            seat = self._seats.get(connection)
            if seat is not None:
                seat.socket.turn_out()

    def _relay_turned_out(self, connections: Iterable[str]) -> None:
        elsewhere = [one for one in connections if one not in self._seats]
        if elsewhere:
            self._relay.tell(SUBJECT, to="out", name="", connections=elsewhere)

    def _leave(self, seat: Seat, kind: str, room: str) -> asyncio.Future[Outcome]:
        _discard(self._members, (kind, room), seat)
        return self._attendance.leave(seat.member(kind, room))


def about(event: str, chat: str, member: Mapping[str, Any]) -> dict[str, Any]:
    """``user_joined`` and ``user_left``."""
    did = "joined" if event == "user_joined" else "left"
    who = {key: value for key, value in member.items() if key != "chat"}
    return {"type": event, "room": chat, "message": f"{member['client_id']} {did} the room.", **who}


def _hand(seats: Iterable[Seat], text: bytes, but: Seat | None) -> None:
    for seat in list(seats):
        if seat is not but:
            seat.socket.put(text)


def _discard(sets: dict[Any, set[Seat]], key: Any, seat: Seat) -> None:
    found = sets.get(key)
    if found is not None:
        found.discard(seat)
        if not found:
            del sets[key]


known: Rooms | None = None


def rooms() -> Rooms:
    """This process's, made on its event loop."""
    global known
    if known is None or known.loop is not asyncio.get_running_loop():
        known = Rooms(attendance(), relay())
    return known
